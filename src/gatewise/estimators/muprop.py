"""MuProp: the score function, with a Taylor expansion of f as control variate."""

import torch
from torch import Tensor

from gatewise.estimators.base import GradientEstimator, info_of_all, mean_of_samples, one_hot, with_gradient
from gatewise.estimators.inner import jacobian, sum_categories, unsqueezed_to, value_alone, value_and_slope
from gatewise.estimators.registry import register
from gatewise.expectation import Estimate, Integrand
from gatewise.precision import widened


@register
class MuProp(GradientEstimator):
    """(f(D) - f(π) - ⟨f′(π), D - π⟩) ∇log π_D + J(π) f′(π), D ~ π: the mean over S draws; J(π) = diag π - π πᵀ.

    Unbiased for the value (f(D)), the logits and the parameters of f. f is asked at the S draws and at its mean field
    π, and f′(π) is an inner derivative: one more forward and backward pass of f, for the point alone. So f must take
    points between the categories. Costs all K evaluations.

    Runs under `torch.compile` with graph breaks only: the inner derivative cannot be traced into one graph.

    >>> import torch
    >>> import gatewise as gw
    >>> logits, scores = torch.zeros(1, 3, requires_grad=True), torch.tensor([0.0, 0.0, 9.0])
    >>> gw.expect(lambda point: point @ scores, logits, gw.estimators.MuProp()).value.sum().backward()
    >>> [round(slope, 3) for slope in logits.grad[0].tolist()]  # f is linear: the expansion is f, and nothing is left
    [-1.0, -1.0, 2.0]

    Reference: Gu, Levine, Sutskever and Mnih 2016 (1511.05176).
    """

    name = "muprop"
    calls = frozenset({"index", "point"})
    unbiased = frozenset({"value", "logits", "parameters"})
    compiles = False
    reference = "Gu et al. 2016 (1511.05176)"

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
        if not torch.is_grad_enabled():
            return value_alone(integrand, index, logits)
        probs = widened(logits.detach()).softmax(-1)
        # [1, *batch], [1, *batch, (L,) K]
        mean_value, slope = value_and_slope(integrand, probs.to(logits.dtype).unsqueeze(0))
        values = integrand.at_index(index)
        away = one_hot(index, probs) - probs  # D - π, and ∇log π_D as well
        left = widened(values.detach()) - mean_value - sum_categories(slope * away, event_dims)
        # what the expansion leaves goes by the score function; its own gradient is known, and added back
        gradient = (unsqueezed_to(left, away) * away).mean(0) + jacobian(probs, slope.squeeze(0))
        value = with_gradient(mean_of_samples(values), logits, gradient)
        return Estimate(value, None, info_of_all(value, logits, index))
