"""Gapped straight-through."""

import torch
from torch import Tensor

from gatewise.errors import check_interval
from gatewise.estimators.base import PointEstimator, one_hot
from gatewise.estimators.registry import register
from gatewise.estimators.surrogate import with_jacobians
from gatewise.precision import widened
from gatewise.schedules import Schedule


@register
class GappedStraightThrough(PointEstimator):
    """D ~ π forward; backward through softmax(θ′/λ), θ′ being θ moved so that D leads all others by at least a gap.

    θ′_D = max θ and θ′_i = min(θ_i, max θ - gap), both moves held constant. A deterministic stand-in, given D, for the
    Gumbels that make D the argmax: unbiased for the value and the parameters of f, biased for the logits, with less
    variance than straight-through Gumbel-Softmax. Costs all K evaluations.

    Args:
        temperature: λ: a number, a schedule, or its text form.
        gap: a number, 1 in the paper; or "adaptive", -log(1 - π_D)/π_D, from the authors' code.

    Raises:
        GatewiseError: for a temperature outside of 1e-4 to 1e4, or a gap that is neither.

    >>> import torch
    >>> import gatewise as gw
    >>> logits = torch.zeros(3, requires_grad=True)
    >>> point = gw.sample(logits, gw.estimators.GappedStraightThrough(gap=1.0))
    >>> sorted(point.tolist()), point.requires_grad
    ([0.0, 0.0, 1.0], True)

    Reference: Fan, Chi, Rudnicky and Ramadge 2022 (2206.07235).
    """

    name = "gapped-straight-through"
    unbiased = frozenset({"value", "parameters"})
    reference = "Fan et al. 2022 (2206.07235)"

    def __init__(self, temperature: float | str | Schedule = 1.0, gap: float | str = 1.0):
        super().__init__(temperature)
        if gap != "adaptive":
            check_interval(gap, "[0, inf]", f"estimator {self.name!r}: gap", "or take 'adaptive'")
        self.gap = gap

    def draw(self, logits: Tensor, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """A one-hot point with the gradient of softmax(θ′/λ), `[S, *logits.shape]`."""
        index = self.draw_index(logits, num_samples, generator)
        log_probs = widened(logits.detach()).log_softmax(-1)
        # log π in the place of θ: a constant on all of them changes neither who leads nor by how much
        highest = log_probs.amax(-1, keepdim=True)
        # both moves are constants, so the derivative is that of the softmax at the moved place: J/λ
        lowered = torch.minimum(log_probs, highest - self.gap_for(log_probs, index)).expand(*index.shape, -1)
        moved = lowered.scatter(-1, index.unsqueeze(-1), highest.expand(*index.shape, 1))
        return with_jacobians(
            one_hot(index, logits), logits, (1 / self.temperature, (moved / self.temperature).softmax(-1))
        )

    def gap_for(self, log_probs: Tensor, index: Tensor) -> Tensor | float:
        """The gap, a number or `[S, *batch, 1]`."""
        if not isinstance(self.gap, str):
            return self.gap
        wide = log_probs.expand(*index.shape, log_probs.shape[-1])
        prob = wide.gather(-1, index.unsqueeze(-1)).exp()
        # tends to 1 as π_D → 0, where the quotient is lost in rounding, and to infinity as π_D → 1
        return torch.where(prob > 1e-4, -torch.log1p(-prob) / prob.clamp_min(1e-4), 1 + prob / 2)

    def extra_repr(self) -> str:
        """The options, for `print`."""
        return f"{super().extra_repr()}, gap={self.gap!r}"
