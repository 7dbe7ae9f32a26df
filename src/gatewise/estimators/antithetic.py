"""Antithetic pairs of categories, by stick-breaking."""

import torch
from torch import Tensor

from gatewise.estimators.base import GradientEstimator, gathered, gradient_only, info_of_draws
from gatewise.estimators.registry import register
from gatewise.expectation import MANY, Estimate, Integrand
from gatewise.noise import exponential
from gatewise.precision import widened


@register
class Antithetic(GradientEstimator):
    """½ (f(i) - f(j)) (e_i - e_j) π_i π_j / P_ij, the mean over S/2 pairs (i, j) ~ P that repel each other.

    Each of i and j is distributed as π, and P_ij > 0 for i ≠ j; a pair with i = j has no gradient. The pairs break
    sticks in the ascending order of π, i where u_k < ρ_k and j where 1 - u_k < ρ_k, with ρ_k = π_k / Σ_{m≥k} π_m; so
    for i before j, P_ij = Π_{k<i} (1 - 2ρ_k) · ρ_i · π_j / Σ_{m>i} π_m. For K = 2 this is DisARM. Unbiased for the
    value (½ (f(i) + f(j))), the logits and the parameters of f, without a baseline. Costs S evaluations an example, S
    even. L latents have a pair each, and f is asked at all the i and at all the j.

    >>> import torch
    >>> import gatewise as gw
    >>> logits, f = torch.zeros(1000, 2), gw.by_index(lambda z: z.float())
    >>> i, j = gw.expect(f, logits, gw.estimators.Antithetic(), num_samples=2).info.index
    >>> bool((i != j).all())  # two equally likely categories: a pair is always both of them
    True

    Reference: Dong, Mnih and Tucker 2020 (2006.10680), 2021 (2106.08056); Dimitriev and Zhou 2021 (2110.14002).
    """

    name = "antithetic"
    calls = frozenset({"index"})
    unbiased = frozenset({"value", "logits", "parameters"})
    sample_counts = range(2, MANY, 2)
    reference = "Dong et al. 2020 (2006.10680), 2021 (2106.08056)"

    def draw_index(self, logits: Tensor, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """S/2 pairs, int64 `[S, *logits.shape[:-1]]`: all the i, then all the j."""
        order, _, log_rho = sticks(widened(logits.detach()).log_softmax(-1))
        noise = exponential((num_samples // 2, *logits.shape), logits, generator)  # -log u
        # u < ρ and 1 - u < ρ: one uniform serves both, so that below ρ = ½ the two never break the same stick
        first = noise > -log_rho
        second = noise < -torch.log1p(-log_rho.exp())
        # the sticks stand in descending order: the last that breaks is the first in ascending order
        places = torch.arange(logits.shape[-1], device=logits.device)
        broken = torch.cat([torch.where(broke, places, -1).amax(-1) for broke in (first, second)])
        return order.expand(num_samples, *order.shape).gather(-1, broken.unsqueeze(-1)).squeeze(-1)

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
        """The mean over S/2 pairs."""
        index = self.draw_index(logits, num_samples, generator)
        values = integrand.at_index(index)
        log_probs = widened(logits).log_softmax(-1)
        i, j = index.chunk(2)
        # by logarithms: π_i π_j and P_ij may both underflow where their quotient is of ordinary size
        log_i, log_j = gathered(log_probs, i), gathered(log_probs, j)
        weight = (log_i + log_j - log_pair(log_probs, i, j)).exp().detach()
        # e_i - e_j is also the difference of the scores, as both have the same π in them
        direction = torch.where(i == j, 0.0, weight) * (log_i - log_j)
        if event_dims:
            direction = direction.sum(-1)
        f_i, f_j = widened(values.detach()).chunk(2)
        gradient = ((f_i - f_j) / 2 * gradient_only(direction)).mean(0)
        return Estimate((widened(values).mean(0) + gradient).to(values.dtype), None, info_of_draws(index, event_dims))


def sticks(log_probs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The categories in descending order of π; log Σ of all up to each, itself included; log ρ of each stick."""
    # stably: `draw_index` and `log_pair` each sort, and must agree on the order of equal categories
    ordered, order = log_probs.sort(dim=-1, descending=True, stable=True)
    log_sums = ordered.logcumsumexp(-1)
    # the most likely is the last stick: it breaks whenever it is reached
    log_rho = torch.cat([torch.zeros_like(ordered[..., :1]), (ordered - log_sums)[..., 1:]], -1)
    return order, log_sums, torch.where(ordered > -torch.inf, log_rho, -torch.inf)


def log_pair(log_probs: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """log P_ij of two different categories `[S, *batch]`; of no meaning where they are the same."""
    order, log_sums, log_rho = sticks(log_probs.detach())
    # Σ_k log(1 - 2ρ_k) over the sticks before each; the last stick has none after it, and ρ ≤ 1/3 where it counts
    unbroken = torch.log1p(-2 * log_rho.exp().clamp_max(0.4))
    before = unbroken.flip(-1).cumsum(-1).flip(-1) - unbroken
    rank = order.argsort(-1)
    rank_i, rank_j = gathered(rank, i), gathered(rank, j)
    sooner, later = torch.maximum(rank_i, rank_j), torch.where(rank_i > rank_j, j, i)
    # in descending order all that an ascending sum over m > i has stands in front of i
    rest = gathered(log_sums, (sooner - 1).clamp_min(0))
    return gathered(before, sooner) + gathered(log_rho, sooner) + gathered(log_probs.detach(), later) - rest
