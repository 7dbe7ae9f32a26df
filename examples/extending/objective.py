"""An objective of your own, with its test: a Rényi bound between the Jensen bound and the likelihood.

python -m pytest examples/extending/objective.py
"""

from itertools import pairwise

import torch

import gatewise as gw
from gatewise.objectives.base import of_all_experts


@gw.objectives.register
class Renyi(gw.objectives.Objective):
    """(1/α) log Σ_z π_z e^{α ℓ_z}, 0 < α ≤ 1: the Jensen bound as α falls to 0, log p(y|x) at 1. Runs all experts."""

    name = "renyi"
    reference = "after Li and Turner 2016 (1602.02311)"

    def __init__(self, alpha: float = 0.5):
        super().__init__()
        if not 0 < alpha <= 1:
            raise gw.GatewiseError(f"renyi: alpha must be above 0 and at most 1, got {alpha}")
        self.alpha = alpha

    def forward(self, observed, generator=None):
        """The bound, `[B]`."""
        log_probs = observed.logits.log_softmax(-1)
        return of_all_experts((log_probs + self.alpha * observed.at_all()).logsumexp(-1) / self.alpha, observed)


def test_it_lies_between_the_bounds():
    mixture = gw.MixtureOfExperts(torch.nn.Linear(4, 3), gw.MLPBank(3, 4, [5], 2)).double()
    observed = mixture.observe(torch.randn(6, 4).double(), torch.randint(2, (6,)))
    jensen, marginal = (gw.objectives.get(name)(observed).value for name in ("jensen", "marginal"))
    rising = [
        jensen,
        *(gw.objectives.get("renyi", alpha=alpha)(observed).value for alpha in (1e-3, 0.5, 0.9)),
        marginal,
    ]
    assert all((low < high).all() for low, high in pairwise(rising))
    torch.testing.assert_close(gw.objectives.get("renyi", alpha=1.0)(observed).value, marginal)
