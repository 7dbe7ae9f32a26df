"""The exact sum: the reference for every other estimator."""

import torch
from torch import Tensor

from gatewise.estimators.base import GradientEstimator
from gatewise.estimators.registry import register
from gatewise.expectation import Estimate, Info, Integrand, joint_outcomes


@register
class Enumeration(GradientEstimator):
    """Σ_z π_z f(z), differentiated as it stands.

    Exact for the value, the logits and the parameters of f. Costs K evaluations an example, K**L for L latents
    (refused beyond `gatewise.expectation.JOINT_LIMIT`). `num_samples` is ignored. A category with probability 0
    contributes nothing, whatever f is there.
    """

    name = "enumeration"
    calls = frozenset({"all"})
    unbiased = frozenset({"value", "logits", "parameters"})
    reference = "the definition"

    def evaluations(self, num_samples: int, num_categories: int) -> int:
        """All of them."""
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
        """The exact expectation."""
        log_probs = logits.log_softmax(-1)
        if event_dims:
            latents, categories = logits.shape[-2:]
            outcomes = joint_outcomes(latents, categories, logits.device)
            log_probs = log_probs[..., torch.arange(latents, device=logits.device), outcomes].sum(-1)
        probs = log_probs.exp()
        values = integrand.at_all()
        # masked before the product: 0 · inf would be a NaN in the gradient
        value = (probs * torch.where(probs > 0, values, 0.0)).sum(-1)
        evaluations = torch.full(value.shape, values.shape[-1], dtype=torch.int64, device=value.device)
        return Estimate(value, None, Info(evaluations))
