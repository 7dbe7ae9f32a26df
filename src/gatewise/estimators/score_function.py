"""The score-function estimator (REINFORCE) and what estimators with a baseline share."""

import torch
from torch import Tensor

from gatewise.estimators.base import GradientEstimator, gathered, info_of_draws, mean_of_samples
from gatewise.estimators.baselines import Baseline, make_baseline
from gatewise.estimators.registry import register
from gatewise.estimators.statistics import scaled_gradient, updated_after_backward
from gatewise.expectation import Estimate, Integrand
from gatewise.precision import widened


class WithBaseline(GradientEstimator):
    """An estimator that draws S categories and weighs a direction at each by (f - b)."""

    calls = frozenset({"index"})
    baseline: Baseline

    @property
    def sample_counts(self) -> range:  # pyrefly: ignore[bad-override]
        """What the baseline takes: leave-one-out needs two draws."""
        return self.baseline.sample_counts

    def commit(self) -> None:
        """Fold the values held back into the baseline."""
        self.baseline.commit()

    def weighted_estimate(
        self, values: Tensor, direction: Tensor, index: Tensor, event_dims: int, context: Tensor | None
    ) -> Estimate:
        """mean_s [ f_s + (f_s - b) ∇direction_s ], with f_s differentiated too.

        Args:
            values: f at the draws, `[S, *batch]`.
            direction: `[S, *batch]`, whose gradient is weighed; its value does not matter.
            index: the draws.
            event_dims: see `gatewise.expect`.
            context: see `gatewise.expect`.
        """
        seen = widened(values.detach())
        baseline = self.baseline(seen, context)
        control_loss = self.baseline.loss(seen, baseline) if torch.is_grad_enabled() else None
        gradient = scaled_gradient(direction, seen, baseline.detach())
        value = mean_of_samples(values + gradient).to(values.dtype)
        if self.training and self.baseline.learns:
            # the draws move the running mean after this gradient: a b that had seen them would bias it
            value, control_loss = updated_after_backward(self.baseline, seen, self.hold_statistics, value, control_loss)
        return Estimate(value, control_loss, info_of_draws(index, event_dims))


@register
class ScoreFunction(WithBaseline):
    """(f(D) - b) ∇log π_D, D ~ π: the mean over S draws.

    Unbiased for the value, the logits and the parameters of f, for any baseline b that does not depend on D.
    Costs S evaluations an example (fewer where draws repeat). Also known as REINFORCE; with
    `baseline="leave-one-out"` as RLOO.

    Args:
        baseline: "none", "running-mean", "leave-one-out" (needs S >= 2), "learned", or a `Baseline`.
        context_dim: for "learned", the features of the context; None learns one number.
        decay: for "running-mean" and "learned", the weight of the past in the mean.

    Raises:
        GatewiseError: for an unknown baseline.

    >>> import torch
    >>> import gatewise as gw
    >>> logits = torch.zeros(2, 5, requires_grad=True)
    >>> f = gw.by_index(lambda z: z.float())  # a black box: no gradient of f is needed
    >>> estimator = gw.estimators.ScoreFunction(baseline="leave-one-out")
    >>> estimate = gw.expect(f, logits, estimator, num_samples=4, generator=torch.Generator().manual_seed(0))
    >>> estimate.value.mean().backward()
    >>> estimate.info.index.shape, logits.grad.shape
    (torch.Size([4, 2]), torch.Size([2, 5]))

    Reference: Williams 1992; baselines: Mnih and Gregor 2014 (1402.0030), Kool, van Hoof and Welling 2019.
    """

    name = "score-function"
    unbiased = frozenset({"value", "logits", "parameters"})
    reference = "Williams 1992; Mnih & Gregor 2014 (1402.0030); Kool et al. 2019"

    def __init__(self, baseline: str | Baseline = "running-mean", context_dim: int | None = None, decay: float = 0.9):
        super().__init__()
        self.baseline = make_baseline(baseline, context_dim, decay)

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
        index = self.draw_index(logits, num_samples, generator)
        values = integrand.at_index(index)
        log_prob = gathered(widened(logits).log_softmax(-1), index)  # [S, *batch], or [S, *batch, L]
        if event_dims:
            log_prob = log_prob.sum(-1)
        return self.weighted_estimate(values, log_prob, index, event_dims, context)
