"""ARSM: augment, reinforce, swap, merge."""

import torch
from torch import Tensor

from gatewise.estimators.base import GradientEstimator, mean_of_samples, with_gradient
from gatewise.estimators.registry import register
from gatewise.expectation import Estimate, Info, Integrand
from gatewise.noise import exponential
from gatewise.outcomes import first_asked
from gatewise.precision import widened


@register
class ARSM(GradientEstimator):
    """g_c = (1/K) Σ_j [f(z^{cj}) - mean_m f(z^{mj})] (1 - K u_j), the mean over S draws of u ~ Dirichlet(1_K).

    z^{cj} = argmin_i u_i e^{-θ_i} after u_c and u_j were swapped. Most swaps change nothing, so the K² of them name few
    different categories; each is evaluated once. Unbiased for the value (f at the unswapped z, a draw from π), the
    logits and the parameters of f, without a baseline. Costs at most K evaluations an example, usually about 3 at
    K = 5, but O(K²) memory and bookkeeping a draw: keep K below about 100. L latents swap the same c and j together,
    which names up to K (K - 1)/2 + 1 different joint outcomes.

    >>> import torch
    >>> import gatewise as gw
    >>> logits = torch.zeros(2, 5, requires_grad=True)
    >>> f = gw.by_index(lambda z: z.clamp_min(0).float())
    >>> estimate = gw.expect(f, logits, gw.estimators.ARSM(), generator=torch.Generator().manual_seed(0))
    >>> estimate.value.shape, bool((estimate.info.evaluations <= 5).all())
    (torch.Size([2]), True)

    Reference: Yin, Yue and Zhou 2019 (1905.01413).
    """

    name = "arsm"
    calls = frozenset({"index"})
    unbiased = frozenset({"value", "logits", "parameters"})
    reference = "Yin et al. 2019 (1905.01413)"

    def evaluations(self, num_samples: int, num_categories: int) -> int:
        """Every category may come up."""
        return min(num_categories, num_samples * (num_categories * (num_categories - 1) // 2 + 1))

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
        """The mean over S draws."""
        fixed = widened(logits.detach()).log_softmax(-1)
        u = exponential((num_samples, *logits.shape), fixed, generator)
        u = u / u.sum(-1, keepdim=True)  # Dirichlet(1_K)
        swaps = swapped_argmin(u.log(), fixed)  # [K, K, S, *batch], or [K, K, S, *batch, L], over (c, j)
        categories = logits.shape[-1]
        values, evaluations = ask(integrand, swaps, categories, event_dims)
        seen = widened(values.detach())
        # the mean is over c: what all swaps with j come to on average is the baseline that comes for free
        centred = seen - seen.mean(0)
        weight = (1 - categories * u).movedim(-1, 0)  # over j: [K, S, *batch], or [K, S, *batch, L]
        if event_dims:
            centred = centred.unsqueeze(-1)
        gradient = (centred * weight).mean((1, 2)).movedim(0, -1)  # over j and S
        # 0 in expectation for a masked category, and so made 0 in every draw
        gradient = torch.where(logits > -torch.inf, gradient, 0.0)
        # category 0 swapped with itself: z as it was drawn, whose f is the value
        value = with_gradient(mean_of_samples(values[0, 0]), logits, gradient)
        return Estimate(value, None, Info(evaluations, index=swaps[0, 0]))


def ask(integrand: Integrand, swaps: Tensor, categories: int, event_dims: int) -> tuple[Tensor, Tensor]:
    """f at all swaps, `[K, K, S, *batch]`, each distinct one asked once, and how many those were, `[*batch]`."""
    flat = swaps.flatten(0, 2)
    if event_dims:
        asked, source = first_asked(flat, event_dims)
        wanted = torch.where(asked.unsqueeze(-1), flat, -1)
    else:
        # marks in the place of a sort: with one latent K marks tell what K² S draws name
        asked = torch.zeros(categories, *flat.shape[1:], dtype=torch.bool, device=flat.device).scatter(0, flat, True)
        numbers = torch.arange(categories, device=flat.device).view(-1, *[1] * (flat.dim() - 1))
        wanted, source = torch.where(asked, numbers, -1), flat
    values = integrand.at_index(wanted).gather(0, source)
    return values.view(*swaps.shape[:3], *values.shape[1:]), asked.sum(0)


def swapped_argmin(log_u: Tensor, log_probs: Tensor) -> Tensor:
    """argmin_i of log u_i - log π_i with log u_c and log u_j swapped, `[K, K, *log_u.shape[:-1]]` over (c, j)."""
    categories = log_u.shape[-1]
    scores = log_u - log_probs
    lowest, at = scores.topk(min(3, categories), dim=-1, largest=False)
    pairs = torch.arange(categories, device=log_u.device)
    c, j = pairs.view(-1, 1), pairs.view(1, -1)
    # the best of those that did not move is among the three lowest
    best = torch.full((), torch.inf, dtype=scores.dtype, device=scores.device)
    where = torch.zeros((), dtype=torch.int64, device=scores.device)
    for rank in range(lowest.shape[-1] - 1, -1, -1):
        place = at[..., rank].unsqueeze(-1).unsqueeze(-1)
        free = (place != c) & (place != j)
        best = torch.where(free, lowest[..., rank].unsqueeze(-1).unsqueeze(-1), best)
        where = torch.where(free, place, where)
    moved_c = log_u.unsqueeze(-2) - log_probs.unsqueeze(-1)  # [..., c, j]: u_j e^{-θ_c}
    moved_j = moved_c.transpose(-1, -2)
    smaller_c = moved_c <= moved_j
    moved = torch.where(smaller_c, moved_c, moved_j)
    index = torch.where(moved < best, torch.where(smaller_c, c, j), where)
    return index.movedim((-2, -1), (0, 1))
