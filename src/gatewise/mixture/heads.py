"""Heads: what the numbers that an expert puts out mean, as a likelihood; and their registry.

To add your own, subclass `DistributionHead`, give it a `name`, and decorate it with `register`.
"""

import math
from typing import Any, ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, distributions

from gatewise.errors import GatewiseError, undefined
from gatewise.mixture.likelihoods import HALF_LOG_2PI, log_softmax, poisson_log_prob, student_t_log_prob
from gatewise.registry import Registry


class Head(Protocol):
    """p(y | outputs of one expert).

    Attributes:
        task: what kind of targets it is for: "classification", "regression", "counts" or "multilabel".
        outputs: O, numbers that an expert puts out for a row; None: one a class or label.

    >>> import torch
    >>> import gatewise as gw
    >>> head: gw.mixture.Head = gw.mixture.Gaussian()
    >>> head.task, head.outputs
    ('regression', 2)
    >>> head.log_prob(torch.zeros(5, head.outputs), torch.zeros(5)).shape
    torch.Size([5])
    """

    task: ClassVar[str]
    outputs: ClassVar[int | None]

    def log_prob(self, outputs: Tensor, y: Tensor) -> Tensor:
        """log p(y), `[...]`, for outputs `[..., O]` and targets `[...]`."""
        ...

    def log_probs(self, outputs: Tensor) -> Tensor:
        """log p of every class, `[..., C]`."""
        ...


HEADS: Registry[Head] = Registry("head")
"""By the names of configurations and command line."""

register, named, names = HEADS.register, HEADS.named, HEADS.names


@register
class Categorical:
    """Classes 0..C-1 with the outputs as logits; computed in float32 at least.

    log p and its slopes are right to 1e-5 of their own size, also where p is within 1e-30 of 1; what is smaller than
    float32's least normal number, 1.2e-38, to that.

    >>> import torch
    >>> import gatewise as gw
    >>> head = gw.mixture.Categorical()
    >>> head.log_prob(torch.zeros(1, 4), torch.tensor([2])).exp().tolist()
    [0.25]
    """

    name = "categorical"
    task = "classification"
    outputs = None

    def log_prob(self, outputs: Tensor, y: Tensor) -> Tensor:
        """log p(y), `[...]`, for logits `[..., C]` and integer classes y `[...]`.

        Raises:
            GatewiseError: for classes that are not integers, or not among the C; on an accelerator, where that look
                would wait for it, these have -inf.
        """
        self.check(y, outputs.shape[-1])
        known = y.long().clamp(0, outputs.shape[-1] - 1)
        found = self.log_probs(outputs).gather(-1, known.unsqueeze(-1)).squeeze(-1)
        return found if can_look(y) else torch.where(known == y, found, -torch.inf)

    def log_probs(self, outputs: Tensor) -> Tensor:
        """log p of every class, `[..., C]`."""
        return log_softmax(outputs if outputs.dtype.itemsize >= 4 else outputs.float())

    def check(self, y: Tensor, classes: int | None = None) -> None:
        """Refuse targets that are no class.

        Raises:
            GatewiseError: with what would be right.
        """
        last = "" if classes is None else f" to {classes - 1}"
        if y.is_floating_point() or y.dtype == torch.bool:
            raise GatewiseError(f"y must hold classes as integers 0{last or ', 1, …'}, got {y.dtype}; use .long()")
        if can_look(y) and not 0 <= int(y.min()) <= int(y.max()) < (classes or torch.inf):
            raise GatewiseError(f"y must hold classes from 0{last}, got {int(y.min())} to {int(y.max())}")


def can_look(y: Tensor) -> bool:
    """Whether values can be looked at: there are some, on the CPU, in no graph that is compiled and under no vmap."""
    if y.device.type != "cpu" or not y.numel():
        return False
    return not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is None


class DistributionHead:
    """Base of the heads made of a `torch.distributions` object.

    Attributes:
        outputs: O, numbers that an expert puts out for a row; None: one a label.
        event_dims: dimensions of one row's target: 0 for a number, 1 for a vector of labels.
        task: "regression", "counts" or "multilabel": what targets are read as, what is measured and reported.
        robust: whether targets are counted from their median in interquartile ranges, which outliers do not move, and
            not from their mean in standard deviations: where it takes a `location` and a `unit`.

    >>> import torch
    >>> import gatewise as gw
    >>> class Exponential(gw.mixture.DistributionHead):
    ...     task, outputs = "regression", 1
    ...     def distribution(self, outputs):
    ...         return torch.distributions.Exponential(outputs[..., 0].exp())
    >>> Exponential().mean(torch.zeros(5, 1)).tolist()
    [[1.0], [1.0], [1.0], [1.0], [1.0]]
    """

    outputs: ClassVar[int | None]
    task: ClassVar[str] = "regression"
    robust: ClassVar[bool] = False
    event_dims: ClassVar[int] = 0

    def distribution(self, outputs: Tensor) -> distributions.Distribution:
        """p(y | outputs), with batch shape `[...]`, in float64 where the device has it."""
        undefined(self, "distribution")

    def check(self, y: Tensor) -> None:
        """Refuse targets that the distribution gives no probability; it looks at the values.

        Raises:
            GatewiseError: with what would be right.
        """
        if not bool(y.isfinite().all()):
            bad = y[~y.isfinite()].flatten()[0]
            raise GatewiseError(f"y must hold finite numbers, got {float(bad):g}; drop rows without a target")

    def log_prob(self, outputs: Tensor, y: Tensor) -> Tensor:
        """log p(y), `[...]`, for outputs `[..., O]` and targets y `[...]` (`[..., L]` for labels).

        Raises:
            GatewiseError: for another number of outputs, or targets that cannot be; on an accelerator, where that look
                would wait for it, these have -inf or NaN.
        """
        wanted = y.shape[-1] if self.outputs is None else self.outputs
        if outputs.shape[-1] != wanted:
            raise GatewiseError(
                f"the experts put out {outputs.shape[-1]} numbers a row; the head {type(self).__name__} takes {wanted}"
            )
        if can_look(y):
            self.check(y)
        wide = widest(outputs)
        return self._measured(wide, y.to(wide.dtype)).to(_told(outputs))

    def _measured(self, outputs: Tensor, y: Tensor) -> Tensor:
        return self.distribution(outputs).log_prob(y)

    def log_probs(self, outputs: Tensor) -> Tensor:
        """There are no classes.

        Raises:
            GatewiseError: always.
        """
        raise GatewiseError(f"the head {type(self).__name__} has no classes; use mixture.distribution or predict_mean")

    def mean(self, outputs: Tensor) -> Tensor:
        """E[y], `[..., 1]` or `[..., L]`."""
        mean = self.distribution(outputs).mean.to(_told(outputs))
        return mean if self.event_dims else mean.unsqueeze(-1)


class _Scaled(DistributionHead):
    """A head with a scale, softplus(o_2) + floor, in units of y's own."""

    def __init__(self, floor: float = 1e-3, location: float = 0.0, unit: float = 1.0):
        if not floor > 0:
            raise GatewiseError(f"the floor of a scale must be above 0, got {floor}")
        _check_unit(unit)
        self.floor, self.location, self.unit = floor, location, unit

    def _standardised(self, outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """How many scales y is from its location, and log p's share of the scale; y itself is never added to o_1."""
        scale = F.softplus(outputs[..., 1]) + self.floor
        return ((y - self.location) / self.unit - outputs[..., 0]) / scale, -scale.log() - math.log(self.unit)

    def _located(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Location and scale in units of y."""
        location, raw = outputs[..., 0], outputs[..., 1]
        return self.location + self.unit * location, self.unit * (F.softplus(raw) + self.floor)


@register
class Gaussian(_Scaled):
    """A Gaussian whose mean o_1 and scale softplus(o_2) + floor an expert puts out.

    Args:
        floor: least scale, so that no row's likelihood grows without bound; in `unit`s.
        location: y where o_1 is 0: y's mean, so that the experts begin there.
        unit: what o_1 and the scale count in: y's standard deviation. 1: standardise y yourself.

    Raises:
        GatewiseError: for a floor or a unit that is not above 0.

    >>> import torch
    >>> import gatewise as gw
    >>> head = gw.mixture.Gaussian(location=20.0, unit=5.0)
    >>> head.mean(torch.zeros(1, 2)).tolist(), head.mean(torch.ones(1, 2)).tolist()
    ([[20.0]], [[25.0]])
    """

    name = "gaussian"
    outputs = 2

    def distribution(self, outputs: Tensor) -> distributions.Distribution:
        """N(location + unit o_1, (unit scale)²)."""
        return distributions.Normal(*self._located(widest(outputs)), validate_args=False)

    def _measured(self, outputs: Tensor, y: Tensor) -> Tensor:
        z, log_scale = self._standardised(outputs, y)
        return log_scale - HALF_LOG_2PI - z * z / 2


@register
class StudentT(_Scaled):
    """Student's t with location, scale and degrees of freedom 2 + softplus(o_3), for targets with outliers.

    Above 2 the variance is finite. Arguments and errors: as `Gaussian`; best are y's median for `location` and its
    interquartile range / 1.349 for `unit`, which outliers do not move.

    >>> import torch
    >>> import gatewise as gw
    >>> head = gw.mixture.StudentT()
    >>> head.outputs, head.log_prob(torch.zeros(5, 3), torch.zeros(5)).shape
    (3, torch.Size([5]))

    Reference: Lange, Little and Taylor 1989.
    """

    name = "student-t"
    outputs = 3
    robust = True

    def distribution(self, outputs: Tensor) -> distributions.Distribution:
        """t(location + unit o_1, unit scale, degrees of freedom)."""
        outputs = widest(outputs)
        return _StudentT(F.softplus(outputs[..., 2]), *self._located(outputs))

    def _measured(self, outputs: Tensor, y: Tensor) -> Tensor:
        z, log_scale = self._standardised(outputs, y)
        return log_scale + student_t_log_prob(z, 2 + F.softplus(outputs[..., 2]))


@register
class Poisson(DistributionHead):
    """A Poisson distribution of counts with rate unit (softplus(o_1) + 1e-6): it cannot overflow, and is never 0.

    Args:
        unit: what the rate counts in; the mean of y, where counts are large.

    Raises:
        GatewiseError: for a unit that is not above 0.

    >>> import torch
    >>> import gatewise as gw
    >>> head = gw.mixture.Poisson(unit=10.0)
    >>> round(head.mean(torch.zeros(1, 1)).item(), 3)  # 10 log 2
    6.931

    Reference: Loader 2000, "Fast and accurate computation of binomial probabilities", for log p.
    """

    name = "poisson"
    task = "counts"
    outputs = 1

    def __init__(self, unit: float = 1.0):
        _check_unit(unit)
        self.unit = unit

    def distribution(self, outputs: Tensor) -> distributions.Distribution:
        """Poisson(rate)."""
        rate = self.unit * (F.softplus(widest(outputs).squeeze(-1)) + 1e-6)
        return _Poisson(rate, validate_args=False)

    def check(self, y: Tensor) -> None:
        """Refuse what is no count."""
        super().check(y)
        if bool((y < 0).any()):
            raise GatewiseError(f"y must hold counts, numbers of at least 0, got {float(y.min()):g}")
        if y.is_floating_point() and bool((bad := y != y.round()).any()):
            raise GatewiseError(
                f"y must hold counts, whole numbers, got {float(y[bad].flatten()[0]):g}; try a Gaussian"
            )


@register
class Bernoulli(DistributionHead):
    """Several labels of a row, each there or not, independent given the expert: the outputs are L logits.

    >>> import torch
    >>> import gatewise as gw
    >>> gw.mixture.Bernoulli().log_prob(torch.zeros(1, 3), torch.tensor([[1.0, 0.0, 1.0]])).exp().tolist()
    [0.125]
    """

    name = "bernoulli"
    task = "multilabel"
    outputs = None
    event_dims = 1

    def distribution(self, outputs: Tensor) -> distributions.Distribution:
        """L independent Bernoulli variables."""
        return _Independent(_Bernoulli(logits=widest(outputs), validate_args=False), 1)

    def check(self, y: Tensor) -> None:
        """Refuse what is neither 0 nor 1."""
        if bool(((y < 0) | (y > 1)).any()):
            raise GatewiseError(f"y must hold labels, 0 or 1, got {float(y.min()):g} to {float(y.max()):g}")
        if not bool(((y == 0) | (y == 1)).all()):
            bad = y[(y != 0) & (y != 1)].flatten()[0]
            raise GatewiseError(f"y must hold labels, 0 or 1, got {float(bad):g}")


class _StudentT(distributions.StudentT):
    """With log p and variance as functions of what the degrees of freedom are above 2."""

    def __init__(self, excess: Tensor, location: Tensor, scale: Tensor):
        self.excess = excess
        super().__init__(2 + excess, location, scale, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "_StudentT":
        new = self._get_checked_instance(_StudentT, _instance or _StudentT.__new__(_StudentT))
        new.excess = self.excess.expand(torch.Size(batch_shape))
        return super().expand(batch_shape, new)

    def log_prob(self, value: Tensor) -> Tensor:
        return student_t_log_prob((value - self.loc) / self.scale, self.df) - self.scale.log()

    @property
    def variance(self) -> Tensor:
        return self.scale**2 * self.df / self.excess


class _Poisson(distributions.Poisson):
    def log_prob(self, value: Tensor) -> Tensor:
        return poisson_log_prob(value.to(self.rate.dtype), self.rate)


class _Independent(distributions.Independent):
    """Of one event dimension, and with log p of no rows too, which torch's own refuses."""

    def log_prob(self, value: Tensor) -> Tensor:
        return self.base_dist.log_prob(value).sum(-1)


class _Bernoulli(distributions.Bernoulli):
    def log_prob(self, value: Tensor) -> Tensor:
        known = -F.softplus((1 - 2 * value) * self.logits)
        return torch.where((value == 0) | (value == 1), known, -math.inf)


def _check_unit(unit: float) -> None:
    if not 0 < unit < math.inf:
        raise GatewiseError(f"the unit of y must be above 0, got {unit}")


def widest(outputs: Tensor) -> Tensor:
    """In float64, or float32 where the device has none."""
    return outputs.to(torch.float32 if outputs.device.type == "mps" else torch.float64)


def _told(outputs: Tensor) -> torch.dtype:
    return outputs.dtype if outputs.dtype.itemsize >= 4 else torch.float32
