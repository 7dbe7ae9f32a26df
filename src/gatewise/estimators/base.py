"""What all estimators share: the facts they state, and the form of those that draw points."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from gatewise.errors import GatewiseError
from gatewise.expectation import MANY, Estimate, Info, Integrand
from gatewise.schedules import Schedule, as_schedule


class GradientEstimator(nn.Module):
    """Base of all estimators. A subclass states its facts and writes `forward`.

    Attributes:
        name: kebab-case, the same in Python and on the command line.
        calls: which of "index", "all", "point" it asks of an integrand.
        unbiased: which of "value", "logits", "parameters" its estimate is unbiased for.
        sample_counts: the values of `num_samples` that it takes.
        event_dims: the values of `event_dims` that it takes.
        reference: the paper.
    """

    name: ClassVar[str]
    calls: ClassVar[frozenset[str]]
    unbiased: frozenset[str] = frozenset()
    sample_counts: range = range(1, MANY)
    event_dims: ClassVar[tuple[int, ...]] = (0, 1)
    reference: ClassVar[str]

    def evaluations(self, num_samples: int, num_categories: int) -> int:
        """At most so many evaluations of f an example, for one latent of K categories."""
        return min(num_samples, num_categories)

    def set_progress(self, progress: float) -> None:
        """Move every schedule to `progress` in [0, 1] of training. Most estimators have none."""

    def commit(self) -> None:
        """Fold in statistics held back while `hold_statistics` is set: the end of an optimiser step."""

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
        raise TypeError(f"{type(self).__name__} does not define forward")


class Tempered(GradientEstimator):
    """An estimator with a temperature λ that may follow a schedule.

    Args:
        temperature: a positive number, a schedule of progress in [0, 1], or its text form ("exponential:1:0.3").

    Raises:
        GatewiseError: for a temperature that is not positive.
    """

    def __init__(self, temperature: float | str | Schedule = 1.0):
        super().__init__()
        self.schedule = as_schedule(temperature)
        for percent in range(100, -1, -1):  # a schedule that comes to 0 is refused now, not in the middle of training
            self.set_progress(percent / 100)

    def set_progress(self, progress: float) -> None:
        """Set the temperature from its schedule."""
        self.temperature = self.schedule(progress)
        if not self.temperature > 0:
            raise GatewiseError(
                f"estimator {self.name!r}: the temperature must be positive, got {self.temperature}; "
                "let its schedule end above 0, such as linear:1:0.1"
            )

    def extra_repr(self) -> str:
        """The schedule, for `print`."""
        return f"temperature={self.schedule}"


class PointEstimator(Tempered):
    """An estimator that is a way of drawing points: a subclass writes `draw`.

    The surrogate gradient lies in the point, so it compiles, vmaps, and serves `gatewise.sample`.
    """

    calls = frozenset({"point"})

    def draw(self, logits: Tensor, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """Points `[S, *logits.shape]`, differentiable in `logits`."""
        raise TypeError(f"{type(self).__name__} does not define draw")

    def evaluations(self, num_samples: int, num_categories: int) -> int:
        """A point between the categories asks for them all."""
        return num_categories

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
        value = integrand.at_point(point).mean(0)
        made = self.evaluations(num_samples, logits.shape[-1])
        evaluations = torch.full(value.shape, made, dtype=torch.int64, device=value.device)
        return Estimate(value, None, Info(evaluations, point=point))


def gradient_only(term: Tensor) -> Tensor:
    """A term that is 0 forward and `term` backward."""
    return term - term.detach()
