"""What all objectives share."""

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import nn

from gatewise.estimators import GradientEstimator
from gatewise.estimators import get as get_estimator
from gatewise.expectation import Estimate, check_num_samples
from gatewise.mixture import Observed


class Objective(nn.Module):
    """A per-example quantity to maximise: log p(y|x) or a lower bound of it.

    Called with `MixtureOfExperts.observe(x, y)`, it returns an `Estimate` whose value is `[B]`.

    Attributes:
        name: kebab-case, the same in Python and on the command line.
        reference: the paper.
    """

    name: ClassVar[str]
    reference: ClassVar[str]

    def evaluations(self, num_experts: int) -> int:
        """At most so many experts run for an example."""
        return num_experts

    def estimators(self) -> Iterator[GradientEstimator]:
        """The gradient estimators inside."""
        return (module for module in self.modules() if isinstance(module, GradientEstimator))

    def set_progress(self, progress: float) -> None:
        """Move every schedule to `progress` in [0, 1] of training."""
        for estimator in self.estimators():
            estimator.set_progress(progress)

    def hold_statistics(self, hold: bool) -> None:
        """Make running baselines wait for `commit`, for a loop that accumulates gradients."""
        for estimator in self.estimators():
            estimator.hold_statistics = hold

    def commit(self) -> None:
        """Fold in the statistics held back: the end of an optimiser step."""
        for estimator in self.estimators():
            estimator.commit()

    def forward(self, observed: Observed, generator: torch.Generator | None = None) -> Estimate:
        """The objective for each example, with its gradient."""
        raise TypeError(f"{type(self).__name__} does not define forward")


class EstimatedObjective(Objective):
    """An objective whose gradient an estimator gives.

    Args:
        estimator: a name of `gatewise.estimators`, or an estimator.
        num_samples: S, see `gatewise.expect`.

    Raises:
        GatewiseError: for an unknown estimator, or a number of samples that it does not take.
    """

    def __init__(self, estimator: str | GradientEstimator, num_samples: int):
        super().__init__()
        self.estimator = as_estimator(estimator, num_samples)
        self.num_samples = num_samples

    def evaluations(self, num_experts: int) -> int:
        """What the estimator asks for."""
        return self.estimator.evaluations(self.num_samples, num_experts)


def as_estimator(estimator: str | GradientEstimator, num_samples: int) -> GradientEstimator:
    """An estimator, by name or as it is, that takes so many samples.

    Raises:
        GatewiseError: for an unknown name, or a count that the estimator refuses.
    """
    made = get_estimator(estimator) if isinstance(estimator, str) else estimator
    check_num_samples(made, num_samples)
    return made
