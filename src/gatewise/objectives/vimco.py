"""VIMCO: the gradient estimator that belongs to the S-sample bound."""

import math

import torch
from torch import Tensor

from gatewise.errors import GatewiseError, check_choice
from gatewise.estimators.base import GradientEstimator, gathered, gradient_only, info_of_draws, mean_of_samples
from gatewise.expectation import Estimate, Integrand
from gatewise.precision import widened

MEANS = ("geometric", "arithmetic")


def replaced_in_turn(terms: Tensor, replacement: Tensor) -> Tensor:
    """For each of S terms the log-sum-exp of all S with that one replaced: `[S, *batch]` from two of that shape.

    Holds S² numbers an example.
    """
    size = len(terms)
    own = torch.eye(size, dtype=torch.bool, device=terms.device).view(size, size, *[1] * (terms.dim() - 1))
    # a sum over the others each time, and not the total less one: a difference loses the small to the large
    return torch.where(own, replacement.unsqueeze(1), terms.unsqueeze(0)).logsumexp(1)


class VIMCO(GradientEstimator):
    """Σ_s (L - L₋ₛ) ∇log π_{z_s} + ∇L, with L = log (1/S) Σ_s w_s and L₋ₛ the same with w_s replaced.

    What replaces w_s is a mean of the other S - 1 weights, so L₋ₛ does not depend on z_s: the estimate is unbiased for
    the bound, for the logits and for the parameters. It serves the `multi-sample` objective alone, whose integrand
    tells the weights of the single draws, and costs nothing beyond them: at most S experts an example. S must be at
    least 2.

    Args:
        mean: "geometric" (of the log-weights, as in the paper) or "arithmetic" (of the weights).

    Raises:
        GatewiseError: for another mean; when called, for fewer than 2 draws or another objective.

    >>> import torch
    >>> import gatewise as gw
    >>> mixture = gw.MixtureOfExperts(torch.nn.Linear(4, 3), gw.MLPBank(3, 4, (), 2))  # 3 experts, 2 classes
    >>> observed = mixture.observe(torch.randn(5, 4), torch.tensor([0, 1, 0, 1, 1]))
    >>> objective = gw.objectives.MultiSample(gw.objectives.VIMCO(mean="arithmetic"), num_samples=2)
    >>> objective(observed).value.shape
    torch.Size([5])

    Reference: Mnih and Rezende 2016 (1602.06725).
    """

    name = "vimco"
    calls = frozenset({"index"})
    unbiased = frozenset({"value", "logits", "parameters"})
    event_dims = (1,)
    reference = "Mnih & Rezende 2016 (1602.06725)"

    def __init__(self, mean: str = "geometric"):
        super().__init__()
        check_choice(mean, MEANS, "mean", "estimator 'vimco'")
        self.mean = mean

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
        """The mean over `num_samples` sets of S draws each, from logits `[*batch, S, K]`."""
        check_draws(self, logits.shape[-2])
        log_weights = getattr(integrand, "log_weights", None)
        if log_weights is None:
            raise GatewiseError("estimator 'vimco' serves the objective multi-sample alone; use 'score-function'")
        index = self.draw_index(logits, num_samples, generator)
        weights = widened(log_weights(index)).movedim(-1, 0)  # [S, M, *batch]
        log_prob = gathered(widened(logits).log_softmax(-1), index).movedim(-1, 0)
        total = weights.logsumexp(0)
        signal = total.detach() - self.without(weights.detach())  # L - L₋ₛ, [S, M, *batch]
        # L carries ∇L for f's parameters; the score carries the draws' distribution
        value = total - math.log(len(weights)) + (signal * gradient_only(log_prob)).sum(0)
        return Estimate(mean_of_samples(value), None, info_of_draws(index, 1))

    def without(self, weights: Tensor) -> Tensor:
        """log Σ w with each of the log-weights `[S, *batch]` in turn replaced by the mean of the others."""
        others = len(weights) - 1
        if self.mean == "geometric":
            return replaced_in_turn(weights, (weights.sum(0) - weights) / others)
        # the others' sum T and their mean T / (S - 1): log T + log (1 + 1 / (S - 1))
        nothing = torch.full_like(weights, -torch.inf)
        return replaced_in_turn(weights, nothing) + math.log1p(1 / others)


def check_draws(estimator: GradientEstimator, num_draws: int) -> None:
    """Refuse VIMCO for a bound of one draw.

    Raises:
        GatewiseError: with what to use there.
    """
    if isinstance(estimator, VIMCO) and num_draws < 2:
        raise GatewiseError(
            f"estimator 'vimco' takes a number of samples from 2, got {num_draws}; a single sample makes the Jensen "
            "bound, for which use 'score-function'"
        )
