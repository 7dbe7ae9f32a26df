"""The marginal likelihood and its Jensen bound."""

import torch

from gatewise.estimators import GradientEstimator
from gatewise.expectation import Estimate, expect
from gatewise.mixture import Observed
from gatewise.objectives.base import EstimatedObjective, Objective, of_all_experts
from gatewise.objectives.registry import register


@register
class Marginal(Objective):
    """log p(y|x) = log Σ_z π_z e^{ℓ_z}, exact, by a log-sum-exp over all K experts. It takes no estimator.

    Its gradient is that of Σ_z r_z (ℓ_z + log π_z) with the posterior r held fixed (Fisher's identity): EM's.

    >>> import torch
    >>> import gatewise as gw
    >>> mixture = gw.MixtureOfExperts(torch.nn.Linear(4, 3), gw.MLPBank(3, 4, (), 2))  # 3 experts, 2 classes
    >>> x, y = torch.randn(5, 4), torch.tensor([0, 1, 0, 1, 1])
    >>> value = gw.objectives.Marginal()(mixture.observe(x, y)).value
    >>> torch.allclose(value, mixture.log_prob(x, y))
    True

    Reference: Jacobs, Jordan, Nowlan and Hinton 1991.
    """

    name = "marginal"
    reference = "Jacobs, Jordan, Nowlan & Hinton 1991"

    def forward(self, observed: Observed, generator: torch.Generator | None = None) -> Estimate:
        """log p(y|x), `[B]`."""
        # a log-sum-exp, differentiated as it stands, costs no more than any estimate of it
        return of_all_experts(observed.log_prob(), observed)


@register
class Jensen(EstimatedObjective):
    """Σ_z π_z ℓ_z ≤ log p(y|x), by any estimator: a lower bound (in expectation, where the estimator draws).

    Linear in π: for fixed experts its optimum over the gate is a vertex, so the gate's entropy collapses unless a
    regulariser holds it up. Costs what the estimator asks for: with an index estimator only the experts drawn are run.

    Args:
        estimator: a name of `gatewise.estimators`, or an estimator.
        num_samples: S, see `gatewise.expect`.

    Raises:
        GatewiseError: for an unknown estimator, or a number of samples that it does not take.

    >>> import torch
    >>> import gatewise as gw
    >>> mixture = gw.MixtureOfExperts(torch.nn.Linear(4, 3), gw.MLPBank(3, 4, (), 2))  # 3 experts, 2 classes
    >>> observed = mixture.observe(torch.randn(5, 4), torch.tensor([0, 1, 0, 1, 1]))
    >>> estimate = gw.objectives.Jensen("score-function")(observed)
    >>> (-estimate.value.mean()).backward()
    >>> estimate.info.evaluations.tolist()  # one expert a row has been run
    [1, 1, 1, 1, 1]

    Reference: Kirsch, Kunze and Barber 2018 (1811.05249).
    """

    name = "jensen"
    reference = "Kirsch, Kunze & Barber 2018 (1811.05249)"

    def __init__(self, estimator: str | GradientEstimator = "enumeration", num_samples: int = 1):
        super().__init__(estimator, num_samples)

    def forward(self, observed: Observed, generator: torch.Generator | None = None) -> Estimate:
        """The bound's estimate, `[B]`."""
        # the mixture itself is the integrand: the estimator decides which experts are run
        logits = observed.logits
        return expect(observed, logits, self.estimator, self.num_samples, generator, context=observed.context)
