"""An estimator of your own, with its test.

The score function with two draws, each of which takes the other's f as its baseline.

    python -m pytest examples/extending/estimator.py
"""

import torch
from torch import Tensor

import gatewise as gw
from gatewise.expectation import Estimate, Info, Integrand
from gatewise.outcomes import first_asked
from gatewise.testing import check_gradient_estimator, independent_draws


@gw.estimators.register
class Twins(gw.estimators.GradientEstimator):
    """½ (f(D) - f(D')) ∇(log π_D - log π_D'), D and D' ~ π independent.

    Unbiased for the value, the logits and the parameters of f. Costs two evaluations an example.
    """

    name = "twins"
    calls = frozenset({"index"})
    unbiased = frozenset({"value", "logits", "parameters"})
    sample_counts = range(2, 3)
    reference = "the score function with one draw as the other's baseline: Kool et al. 2019"

    def forward(
        self,
        integrand: Integrand,
        logits: Tensor,
        *,
        num_samples: int = 2,
        event_dims: int = 0,
        generator: torch.Generator | None = None,
        context: Tensor | None = None,
    ) -> Estimate:
        """`value` [*batch]: the mean of the two, carrying the gradient."""
        index = self.draw_index(logits, num_samples, generator)  # [2, *batch]
        values = integrand.at_index(index)  # [2, *batch]
        table = logits.log_softmax(-1).expand(*index.shape, -1)
        log_prob = table.gather(-1, index.unsqueeze(-1)).squeeze(-1)
        log_prob = log_prob.sum(-1) if event_dims else log_prob
        seen = values.detach()
        score = 0.5 * (seen[0] - seen[1]) * (log_prob[0] - log_prob[1])
        value = values.mean(0) + (score - score.detach()).to(values.dtype)  # 0 forward, the score's gradient backward
        return Estimate(value, None, Info(lambda: first_asked(index, event_dims)[0].sum(0), index=index))


def test_it_keeps_what_it_states():
    check_gradient_estimator(Twins(), outcomes=independent_draws)  # by enumeration, to 1e-10
