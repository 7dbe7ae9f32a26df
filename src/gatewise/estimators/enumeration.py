"""Enumeration: the exact sum, the reference for every other estimator."""

import torch
from torch import Tensor

from gatewise.estimators.base import GradientEstimator
from gatewise.estimators.registry import register
from gatewise.expectation import Estimate, Info, Integrand
from gatewise.outcomes import as_categories, outcome_probs


@register
class Enumeration(GradientEstimator):
    """Σ_z π_z f(z), differentiated as it stands.

    Exact for the value, the logits and the parameters of f. Costs K evaluations an example, K**L for L latents
    (refused beyond `gatewise.outcomes.JOINT_LIMIT`). `num_samples` is ignored. A category with probability 0
    contributes nothing, and is not asked for.

    Args:
        support_only: ask f only for the categories of positive probability: those that a sparse gate
            (`gatewise.mixture.Sparsemax`) or a mask leaves. Costs as many evaluations as there are.

    >>> import torch
    >>> import gatewise as gw
    >>> logits = torch.zeros(1, 4, requires_grad=True)
    >>> squares = gw.by_index(lambda z: z.clamp_min(0).float() ** 2)
    >>> gw.expect(squares, logits, gw.estimators.Enumeration(support_only=True)).value.tolist()  # (0 + 1 + 4 + 9) / 4
    [3.5]

    Reference: with a sparse gate, Correia, Niculae, Aziz and Martins 2020 (2007.01919).
    """

    name = "enumeration"
    joint = True
    calls = frozenset({"all"})
    unbiased = frozenset({"value", "logits", "parameters"})
    reference = "the definition; of a sparse gate's support: Correia et al. 2020 (2007.01919)"

    def __init__(self, support_only: bool = False):
        super().__init__()
        self.support_only = support_only
        if support_only:
            self.calls = frozenset({"index"})

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
        probs = outcome_probs(logits, event_dims)
        possible = probs > 0
        values = self.ask(integrand, possible, logits, event_dims)
        # masked before the product: 0 · inf would be a NaN in the gradient
        value = (probs * torch.where(possible, values, 0.0)).sum(-1).to(values.dtype)
        return Estimate(value, None, Info(lambda: self.asked(possible, logits, event_dims)))

    def ask(self, integrand: Integrand, possible: Tensor, logits: Tensor, event_dims: int) -> Tensor:
        """f at every outcome `[*batch, N]`, 0 where it was not asked."""
        leaves_out = getattr(integrand, "leaves_out", False)
        # a compiler cannot look whether something is masked
        if not self.support_only and (leaves_out or torch.compiler.is_compiling() or bool(possible.all())):
            return integrand.at_all()
        numbers = torch.arange(possible.shape[-1], device=possible.device)
        outcomes = torch.where(possible, numbers, -1).movedim(-1, 0)
        values = integrand.at_index(as_categories(outcomes, logits, event_dims))
        return values.movedim(0, -1)

    def asked(self, possible: Tensor, logits: Tensor, event_dims: int) -> Tensor:
        """How many outcomes were, `[*batch]`: without `support_only` only a mask leaves some out."""
        if self.support_only:
            return possible.sum(-1)
        unmasked = (logits > -torch.inf).sum(-1)
        return unmasked.prod(-1) if event_dims else unmasked
