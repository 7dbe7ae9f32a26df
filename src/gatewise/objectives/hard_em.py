"""Hard EM: the one best explanation, reached by annealing."""

import torch

from gatewise.estimators.base import gradient_only
from gatewise.expectation import Estimate
from gatewise.mixture import Observed
from gatewise.objectives.base import Objective, of_all_experts, weighted
from gatewise.objectives.registry import register
from gatewise.schedules import Schedule, as_schedule, check_temperatures


@register
class HardEM(Objective):
    """max_z (ℓ_z + log π_z) ≤ log p(y|x), with the gradient of Σ_z r_z (ℓ_z + log π_z), r held fixed.

    r = softmax((ℓ + log π) / T): at T = 1 the posterior, so the gradient is EM's and the marginal's; as T → 0 all of r
    goes to the best expert, and the gradient becomes that of the maximum, the winner's alone. In between the gradient
    is not that of the value reported. Annealing T keeps the experts from being chosen before they differ (deterministic
    annealing). Exact, a lower bound always; it takes no estimator and costs all K experts.

    Args:
        temperature: T, from 1e-30 to 1e4: a number, a schedule of progress, or its text form.

    Raises:
        GatewiseError: for a temperature outside of that range.

    >>> import torch
    >>> import gatewise as gw
    >>> mixture = gw.MixtureOfExperts(torch.nn.Linear(4, 3), gw.MLPBank(3, 4, (), 2))  # 3 experts, 2 classes
    >>> observed = mixture.observe(torch.randn(5, 4), torch.tensor([0, 1, 0, 1, 1]))
    >>> objective = gw.objectives.HardEM("linear:1:0.1")
    >>> objective.set_progress(1.0)
    >>> round(objective.temperature, 3), torch.equal(objective(observed).value, observed.log_joint().amax(-1))
    (0.1, True)

    Reference: Neal and Hinton 1998; the annealing: Ueda and Nakano 1998.
    """

    name = "hard-em"
    reference = "Neal & Hinton 1998; Ueda & Nakano 1998"

    def __init__(self, temperature: float | str | Schedule = "exponential:1:0.05"):
        super().__init__()
        self.schedule = as_schedule(temperature)
        # no noise is divided by T, which may come far closer to 0 than the λ of an estimator
        check_temperatures(self.schedule, "objective 'hard-em': the temperature", lowest=1e-30)
        self.set_progress(0.0)

    @property
    def temperature(self) -> float:
        """T."""
        return self._temperature

    def set_progress(self, progress: float) -> None:
        """Set T from its schedule."""
        self._temperature = self.schedule(progress)

    def forward(self, observed: Observed, generator: torch.Generator | None = None) -> Estimate:
        """max_z (ℓ_z + log π_z), `[B]`."""
        joint = observed.log_joint()
        best = joint.detach().amax(-1, keepdim=True)
        # divided after the subtraction: the best stays at 0 however low T is
        responsibility = ((joint.detach() - best) / self.temperature).softmax(-1)
        # forward the maximum; backward Σ_z r_z ∇(ℓ_z + log π_z), as in an M step
        value = best.squeeze(-1) + gradient_only(weighted(responsibility, joint))
        return of_all_experts(value, observed)
