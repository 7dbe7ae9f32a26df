"""Base classes of all estimators: the facts they state, and the form of those that draw points."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from gatewise.errors import undefined
from gatewise.expectation import MANY, Estimate, Info, Integrand
from gatewise.noise import categorical
from gatewise.outcomes import as_categories, first_asked, joint_log_probs
from gatewise.precision import widened
from gatewise.schedules import Schedule, as_schedule, check_temperature


class GradientEstimator(nn.Module):
    """Base of all estimators. A subclass states its facts and writes `forward`.

    What an estimator learns by itself, such as a running mean or an adaptive step, moves when the gradient of a call
    has been taken in training mode: once for a call, at the end of the backward pass, by `updated_after_backward` of
    `gatewise.estimators.statistics`. Until then every call sees the state as it was. So a call under `no_grad`, one
    that is thrown away, and one that `torch.utils.checkpoint` repeats (in either form) leave no trace of their own;
    under `torch.func.functional_call` the tensors that were given to it move. With `hold_statistics` nothing that the
    gradient depends on moves before `commit`.

    Attributes:
        name: kebab-case, the same in Python and on the command line.
        calls: which of "index", "all", "point" it asks of an integrand.
        unbiased: which of "value", "logits", "parameters" its estimate is unbiased for.
        sample_counts: the values of `num_samples` that it takes.
        event_dims: the values of `event_dims` that it takes.
        joint: whether it treats L latents as one with K**L categories, which `expectation.JOINT_LIMIT` bounds.
        whole_batch: whether what it makes of a row depends on the other rows of the batch, which processes that train
            together do not see.
        compiles: whether it runs under `torch.compile(fullgraph=True)` without a generator; if not, its docstring
            says why.
        reference: the paper.

    >>> import gatewise as gw
    >>> estimator = gw.estimators.ScoreFunction()
    >>> isinstance(estimator, gw.estimators.GradientEstimator), sorted(estimator.calls)
    (True, ['index'])
    >>> estimator.evaluations(num_samples=4, num_categories=8)
    4
    """

    name: ClassVar[str]
    calls: frozenset[str]
    unbiased: frozenset[str] = frozenset()
    sample_counts: range = range(1, MANY)
    event_dims: ClassVar[tuple[int, ...]] = (0, 1)
    joint: ClassVar[bool] = False
    compiles: ClassVar[bool] = True
    whole_batch: bool = False
    reference: ClassVar[str]

    def evaluations(self, num_samples: int, num_categories: int) -> int:
        """At most so many evaluations of f an example, for one latent of K categories.

        All K where f is asked for all or at a point between them, else those drawn; others say so themselves.
        """
        return min(num_samples, num_categories) if self.calls == {"index"} else num_categories

    def set_progress(self, progress: float) -> None:
        """Move every schedule to `progress` in [0, 1] of training. Most estimators have none."""

    def commit(self) -> None:
        """Fold in statistics held back while `hold_statistics` is set: the end of an optimiser step."""

    def draw_index(self, logits: Tensor, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """The categories drawn, int64 `[S, *logits.shape[:-1]]`: S independent ones unless a subclass draws otherwise.

        A test puts every outcome in its place, and so learns the expectation of all that follows.
        """
        return categorical(logits, num_samples, generator)

    hold_statistics: bool = False
    """Set by a training loop that accumulates gradients: running baselines then wait for `commit`."""

    def forward(
        self,
        integrand: Integrand,
        logits: Tensor,
        *,
        num_samples: int = 1,
        event_dims: int = 0,
        generator: torch.Generator | None = None,
        context: Tensor | None = None,
    ) -> Estimate:
        """Estimate E f under softmax(logits); see `gatewise.expect` for the arguments."""
        undefined(self, "forward")


SCALES = "[-100, 100]"
"""What an estimator takes as its `scale`: beyond, gradients may not stay finite."""


class JointEstimator(GradientEstimator):
    """An estimator that draws different outcomes, L latents being one with K**L categories, and is unbiased for all."""

    joint = True
    calls = frozenset({"index"})
    unbiased = frozenset({"value", "logits", "parameters"})

    def drawn(
        self, logits: Tensor, num_samples: int, event_dims: int, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """log π of every outcome, the draws as categories, and which are there and their numbers, `[*batch, S]`."""
        log_probs = joint_log_probs(logits, event_dims)
        outcome = self.draw_index(log_probs, num_samples, generator)  # [S, *batch], -1 where no outcome is left
        index = as_categories(outcome, logits, event_dims)
        return log_probs, index, (outcome >= 0).movedim(0, -1), outcome.clamp_min(0).movedim(0, -1)


class Tempered(GradientEstimator):
    """An estimator with a temperature λ that may follow a schedule.

    Args:
        temperature: λ, from 1e-4 to 1e4: a number, a schedule of progress in [0, 1], or its text form
            ("exponential:1:0.3").

    Raises:
        GatewiseError: for a temperature outside of that range.

    >>> import gatewise as gw
    >>> estimator = gw.estimators.GumbelSoftmax(temperature="linear:1:0.5")
    >>> estimator.set_progress(0.5)
    >>> estimator.temperature
    0.75
    """

    def __init__(self, temperature: float | str | Schedule = 1.0):
        super().__init__()
        self.schedule = as_schedule(temperature)
        # a schedule that leaves the range is refused now, not in the middle of training; the start comes last and stays
        for percent in range(100, -1, -1):
            self.set_progress(percent / 100)

    def set_progress(self, progress: float) -> None:
        """Set the temperature from its schedule."""
        self.temperature = check_temperature(self.schedule(progress), f"estimator {self.name!r}: the temperature")

    def tempered(self, logits: Tensor) -> Tensor:
        """logits/λ."""
        return logits if self.temperature == 1.0 else logits / self.temperature

    def extra_repr(self) -> str:
        """The schedule, for `print`."""
        return f"temperature={self.schedule}"


class PointEstimator(Tempered):
    """An estimator that is a way of drawing points: a subclass writes `draw`.

    The surrogate gradient lies in the point, so it compiles, vmaps, and serves `gatewise.sample`.

    >>> import torch
    >>> import gatewise as gw
    >>> class MeanField(gw.estimators.PointEstimator):
    ...     name, reference = "mean-field", "none"
    ...     def draw(self, logits, num_samples, generator=None):
    ...         return logits.softmax(-1).expand(num_samples, *logits.shape)
    >>> gw.sample(torch.zeros(2, 4), MeanField()).shape
    torch.Size([2, 4])
    """

    calls = frozenset({"point"})

    def draw(self, logits: Tensor, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Points `[S, *logits.shape]`, differentiable in `logits`."""
        undefined(self, "draw")

    def forward(
        self,
        integrand: Integrand,
        logits: Tensor,
        *,
        num_samples: int = 1,
        event_dims: int = 0,
        generator: torch.Generator | None = None,
        context: Tensor | None = None,
    ) -> Estimate:
        """The mean of f over S points."""
        point = self.draw(logits, num_samples, generator)
        value = mean_of_samples(integrand.at_point(point))
        return Estimate(value, None, info_of_all(value, logits, point=point))


def info_of_all(value: Tensor, logits: Tensor, index: Tensor | None = None, point: Tensor | None = None) -> Info:
    """What was drawn for the examples of `value` `[*batch]`, where all K evaluations are made for each."""
    count = logits.shape[-1]
    return Info(lambda: torch.full(value.shape, count, dtype=torch.int64, device=value.device), index, point)


def info_of_draws(index: Tensor, event_dims: int = 0) -> Info:
    """What was drawn, where f is evaluated once at each of an example's different draws."""
    return Info(lambda: first_asked(index, event_dims)[0].sum(0), index)


def mean_of_samples(values: Tensor) -> Tensor:
    """The mean over the first dimension, taken in the working type; of one sample it would be a needless step."""
    return values.squeeze(0) if values.shape[0] == 1 else widened(values).mean(0).to(values.dtype)


def gradient_only(term: Tensor) -> Tensor:
    """A term that is 0 forward and `term` backward."""
    return term - term.detach()


def straight_through(point: Tensor, relaxed: Tensor, weight: float = 1.0) -> Tensor:
    """The points `[S, *batch, K]` forward, and `weight` times the gradient of `relaxed` backward.

    `relaxed` has as many dimensions, and is exact 0 less itself: what is added to the point does not change it.
    """
    # added in the wider type, in which the gradients of the samples are then summed
    return torch.add(point, relaxed - relaxed.detach(), alpha=weight).to(point.dtype)


def finite(logits: Tensor) -> Tensor:
    """The logits, with a finite number and no gradient where a category is masked with -inf."""
    return logits.clamp_min(torch.finfo(logits.dtype).min)


def shift_only(logits: Tensor) -> Tensor:
    """0 forward and the gradient of `logits` backward, also where a category is masked with -inf."""
    # -inf less itself would be a NaN
    return gradient_only(finite(logits))


def one_hot(index: Tensor, like: Tensor) -> Tensor:
    """e_index, `[*index.shape, K]`, in the type and with the K of `like`."""
    # not `F.one_hot`, which makes int64 first and looks at the index for its range
    return like.new_zeros((*index.shape, like.shape[-1])).scatter(-1, index.unsqueeze(-1), 1.0)


def gathered(table: Tensor, index: Tensor) -> Tensor:
    """The entries `[S, *batch]` of a table `[*batch, K]` at the categories `[S, *batch]`."""
    # with the samples last, where the backward pass adds them up in the table's own shape
    return table.gather(-1, index.movedim(0, -1)).movedim(-1, 0)


def with_gradient(value: Tensor, logits: Tensor, gradient: Tensor) -> Tensor:
    """`value` `[*batch]`, with `gradient`, shaped as the logits, added to its gradient for the logits.

    For estimators that work their gradient out in the forward pass.
    """
    # linear in the logits with a factor that is constant: backward gives the factor, times what comes from above
    moves = gradient.detach() * shift_only(logits)
    return value + moves.flatten(value.dim()).sum(-1).to(value.dtype)  # over K, and L
