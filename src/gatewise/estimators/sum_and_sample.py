"""Sum-and-sample: the likely categories exactly, one draw for the rest."""

import torch
from torch import Tensor

from gatewise.estimators.base import JointEstimator, gradient_only
from gatewise.estimators.registry import register
from gatewise.expectation import Estimate, Info, Integrand
from gatewise.noise import without_replacement


@register
class SumAndSample(JointEstimator):
    """Σ_{z∈C} ∇π_z f(z) + (1 - π(C)) f(z′) ∇log π_z′, with C the S - 1 most likely and z′ ~ π outside of C.

    Unbiased for the value, the logits and the parameters of f; exact at S = K. Costs S evaluations an example. At
    S = 1 the score function without a baseline. L latents are treated as one with K**L categories, refused beyond
    `gatewise.outcomes.JOINT_LIMIT`. Of equally likely categories C has the first.

    >>> import torch
    >>> import gatewise as gw
    >>> logits, f = torch.zeros(1, 4), gw.by_index(lambda z: z.float())
    >>> estimate = gw.expect(f, logits, gw.estimators.SumAndSample(), num_samples=4)  # S = K: exact
    >>> estimate.value.tolist(), estimate.info.evaluations.tolist()
    ([1.5], [4])

    Reference: Liu, Regier, Tripuraneni, Jordan and McAuliffe 2019 (1810.04777).
    """

    name = "sum-and-sample"
    reference = "Liu et al. 2019 (1810.04777)"

    def draw_index(self, logits: Tensor, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """The categories of C and the one drawn, int64 `[min(S, K), *batch]`; -1 where no category is left."""
        logits = logits.detach()
        highest, order = logits.sort(dim=-1, descending=True, stable=True)
        summed = min(num_samples, logits.shape[-1]) - 1
        rest = logits.scatter(-1, order[..., :summed], -torch.inf)
        likely = torch.where(highest > -torch.inf, order, -1)[..., :summed]
        return torch.cat([likely.movedim(-1, 0), without_replacement(rest, 1, generator)])

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
        """The sum over C and the drawn remainder."""
        log_probs, index, asked, named = self.drawn(logits, num_samples, event_dims, generator)
        log_prob = log_probs.gather(-1, named)
        # 1 - π(C), summed over what is left: as a difference it would lose its digits where C has nearly all
        rest = log_probs.detach().scatter(-1, named[..., :-1], -torch.inf).logsumexp(-1, keepdim=True).exp()
        # the score is that of π and not of the renormalised rest: its mean over z′ is Σ_{z∉C} ∇π_z
        weights = torch.cat([log_prob[..., :-1].exp(), rest * (1 + gradient_only(log_prob[..., -1:]))], -1)
        weights = torch.where(asked, weights, 0.0)
        values = integrand.at_index(index)
        value = (weights.movedim(-1, 0) * values).sum(0).to(values.dtype)
        return Estimate(value, None, Info(lambda: asked.sum(-1), index=index))
