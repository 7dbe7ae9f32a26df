"""Base classes of objectives: exact ones, and those whose gradient an estimator gives."""

import inspect
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gatewise.errors import undefined
from gatewise.estimators import GradientEstimator, Tempered
from gatewise.estimators import get as get_estimator
from gatewise.expectation import Estimate, Info, check_estimator, check_num_samples
from gatewise.mixture import Observed
from gatewise.registry import Registry


class Objective(nn.Module):
    """A per-example quantity to maximise: log p(y|x) or a lower bound of it.

    Called with `MixtureOfExperts.observe(x, y)`, it returns an `Estimate` whose value is `[B]`.

    Attributes:
        name: kebab-case, the same in Python and on the command line.
        reference: the paper.
        own_estimators: gradient estimators that serve this objective alone, by name.
        refusal: what is said of an option of estimators, where it takes none; {} stands for the option.

    >>> import torch
    >>> import gatewise as gw
    >>> mixture = gw.MixtureOfExperts(torch.nn.Linear(4, 3), gw.MLPBank(3, 4, (), 2))  # 3 experts, 2 classes
    >>> observed = mixture.observe(torch.randn(5, 4), torch.tensor([0, 1, 0, 1, 1]))
    >>> objective = gw.objectives.get("jensen", estimator="score-function", num_samples=2)
    >>> isinstance(objective, gw.objectives.Objective), objective.evaluations(num_experts=3)
    (True, 2)
    >>> objective(observed).value.shape
    torch.Size([5])
    """

    name: ClassVar[str]
    reference: ClassVar[str]
    own_estimators: ClassVar[Registry[GradientEstimator]] = Registry("estimator")
    refusal: ClassVar[str] = (
        "is exact and takes no {}; leave it out, or choose an objective that takes one, such as jensen"
    )

    @classmethod
    def takes_estimator(cls, **options: Any) -> bool:
        """Whether a gradient estimator is chosen for it, when it is made with these options."""
        return "estimator" in inspect.signature(cls).parameters

    def check_experts(self, num_experts: int) -> None:
        """Refuse, before anything is run, a mixture of so many experts. Most objectives take any.

        Raises:
            GatewiseError: with what would work.
        """

    @property
    def temperature(self) -> float | None:
        """The temperature as it is now, of the first part that has one."""
        return next((part.temperature for part in self.estimators() if isinstance(part, Tempered)), None)

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
        undefined(self, "forward")


def of_all_experts(value: Tensor, observed: Observed) -> Estimate:
    """An exact value `[B]`, for which every expert was run that is not masked."""
    return Estimate(value, None, Info(observed.evaluations))


def weighted(weights: Tensor, values: Tensor) -> Tensor:
    """Σ_z weights_z values_z, `[B]`; where the weight is 0 the value does not matter, be it infinite."""
    # masked before the product: 0 · inf is a NaN, and so is its gradient
    return (weights * torch.where(weights > 0, values, 0.0)).sum(-1)


class EstimatedObjective(Objective):
    """An objective whose gradient an estimator gives.

    Args:
        estimator: a name of `gatewise.estimators`, or an estimator.
        num_samples: S, see `gatewise.expect`.

    Raises:
        GatewiseError: for an unknown estimator, or a number of samples that it does not take.

    >>> from gatewise.objectives import Jensen
    >>> objective = Jensen("score-function", num_samples=2)
    >>> objective.estimator.name, objective.evaluations(num_experts=8)
    ('score-function', 2)
    """

    def __init__(self, estimator: str | GradientEstimator, num_samples: int):
        super().__init__()
        self.estimator = self.made(estimator)
        check_num_samples(self.estimator, num_samples)
        self.num_samples = num_samples

    @classmethod
    def made(cls, estimator: str | GradientEstimator) -> GradientEstimator:
        """An estimator by name, the objective's own first, or the one given."""
        if not isinstance(estimator, str):
            check_estimator(estimator)
            return estimator
        # its own first: they serve no other objective, and `gatewise.estimators` does not know them
        own = cls.own_estimators
        return own.get(estimator) if estimator in own.names() else get_estimator(estimator)

    @classmethod
    def default_estimator(cls, num_samples: int) -> str:
        """The name of the estimator taken where none is chosen."""
        return "enumeration"

    def evaluations(self, num_experts: int) -> int:
        """What the estimator asks for."""
        return self.estimator.evaluations(self.num_samples, num_experts)
