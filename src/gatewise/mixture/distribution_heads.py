"""Heads for targets that are no classes: numbers, counts, and several labels at once.

Every head takes an expert's outputs `[..., O]`, works in float32 at least, and gives a `torch.distributions` object.
"""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, distributions

from gatewise.errors import GatewiseError


class DistributionHead:
    """Base of the heads made of a `torch.distributions` object.

    Attributes:
        outputs: O, numbers that an expert puts out for a row; None: one a label.
        event_dims: dimensions of one row's target: 0 for a number, 1 for a vector of labels.
    """

    outputs: ClassVar[int | None]
    event_dims: ClassVar[int] = 0

    def distribution(self, outputs: Tensor) -> distributions.Distribution:
        """p(y | outputs), with batch shape `[...]`."""
        raise TypeError(f"{type(self).__name__} does not define distribution")

    def check(self, y: Tensor) -> None:
        """Refuse targets that the distribution gives no probability.

        Raises:
            GatewiseError: with what would be right.
        """

    def log_prob(self, outputs: Tensor, y: Tensor) -> Tensor:
        """log p(y), `[...]`, for outputs `[..., O]` and targets y `[...]` (`[..., L]` for labels).

        Raises:
            GatewiseError: for another number of outputs, or (on the CPU) targets that cannot be.
        """
        wanted = y.shape[-1] if self.outputs is None else self.outputs
        if outputs.shape[-1] != wanted:
            raise GatewiseError(
                f"the experts put out {outputs.shape[-1]} numbers a row; the head {type(self).__name__} takes {wanted}"
            )
        if y.device.type == "cpu" and y.numel():  # on an accelerator this look would wait for it
            self.check(y)
        return self._measured(_wide(outputs), y)

    def _measured(self, outputs: Tensor, y: Tensor) -> Tensor:
        return self.distribution(outputs).log_prob(y.to(outputs.dtype))

    def log_probs(self, outputs: Tensor) -> Tensor:
        """There are no classes.

        Raises:
            GatewiseError: always.
        """
        raise GatewiseError(f"the head {type(self).__name__} has no classes; use mixture.distribution or predict_mean")

    def mean(self, outputs: Tensor) -> Tensor:
        """E[y], `[..., 1]` or `[..., L]`."""
        mean = self.distribution(_wide(outputs)).mean
        return mean if self.event_dims else mean.unsqueeze(-1)


class _Scaled(DistributionHead):
    """A head with a scale, softplus(o_2) + floor, in units of y's own."""

    def __init__(self, floor: float = 1e-3, location: float = 0.0, unit: float = 1.0):
        if not floor > 0:
            raise GatewiseError(f"the floor of a scale must be above 0, got {floor}")
        _check_unit(unit)
        self.floor, self.location, self.unit = floor, location, unit

    def _measured(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Standardised first, in y's own type: far from 0 float32 would lose its digits."""
        if (self.location, self.unit) == (0.0, 1.0):
            return super()._measured(outputs, y)
        inside = (y - self.location) / self.unit
        return type(self)(self.floor)._measured(outputs, inside) - math.log(self.unit)


class Gaussian(_Scaled):
    """A Gaussian whose mean o_1 and scale softplus(o_2) + floor an expert puts out.

    Args:
        floor: least scale, so that no row's likelihood grows without bound; in `unit`s.
        location: y where o_1 is 0: y's mean, so that the experts begin there.
        unit: what o_1 and the scale count in: y's standard deviation. 1: standardise y yourself.

    Raises:
        GatewiseError: for a floor or a unit that is not above 0.
    """

    outputs = 2

    def distribution(self, outputs: Tensor) -> distributions.Distribution:
        """N(location + unit o_1, (unit scale)²)."""
        location, raw = outputs.unbind(-1)
        scale = self.unit * (F.softplus(raw) + self.floor)
        return distributions.Normal(self.location + self.unit * location, scale, validate_args=False)


class StudentT(_Scaled):
    """Student's t with location, scale and degrees of freedom 2 + softplus(o_3), for targets with outliers.

    Above 2 the variance is finite. Arguments and errors: as `Gaussian`.

    Reference: Lange, Little and Taylor 1989.
    """

    outputs = 3

    def distribution(self, outputs: Tensor) -> distributions.Distribution:
        """t(location + unit o_1, unit scale, degrees of freedom)."""
        location, raw, freedom = outputs.unbind(-1)
        location, scale = self.location + self.unit * location, self.unit * (F.softplus(raw) + self.floor)
        return distributions.StudentT(2 + F.softplus(freedom), location, scale, validate_args=False)


class Poisson(DistributionHead):
    """A Poisson distribution of counts with rate unit (softplus(o_1) + 1e-6): it cannot overflow, and is never 0.

    Args:
        unit: what the rate counts in; the mean of y, where counts are large.

    Raises:
        GatewiseError: for a unit that is not above 0.
    """

    outputs = 1

    def __init__(self, unit: float = 1.0):
        _check_unit(unit)
        self.unit = unit

    def distribution(self, outputs: Tensor) -> distributions.Distribution:
        """Poisson(rate)."""
        return distributions.Poisson(self.unit * (F.softplus(outputs.squeeze(-1)) + 1e-6), validate_args=False)

    def check(self, y: Tensor) -> None:
        """Refuse numbers below 0."""
        if y.min() < 0:
            raise GatewiseError(f"y must hold counts, numbers of at least 0, got {float(y.min()):g}")


class Bernoulli(DistributionHead):
    """Several labels of a row, each there or not, independent given the expert: the outputs are L logits."""

    outputs = None
    event_dims = 1

    def distribution(self, outputs: Tensor) -> distributions.Distribution:
        """L independent Bernoulli variables."""
        return distributions.Independent(distributions.Bernoulli(logits=outputs, validate_args=False), 1)

    def check(self, y: Tensor) -> None:
        """Refuse what is neither 0 nor 1, nor between."""
        if y.min() < 0 or y.max() > 1:
            raise GatewiseError(f"y must hold labels, 0 or 1, got {float(y.min()):g} to {float(y.max()):g}")


def _check_unit(unit: float) -> None:
    if not 0 < unit < math.inf:
        raise GatewiseError(f"the unit of y must be above 0, got {unit}")


def _wide(outputs: Tensor) -> Tensor:
    return outputs if outputs.dtype.itemsize >= 4 else outputs.to(torch.float32)
