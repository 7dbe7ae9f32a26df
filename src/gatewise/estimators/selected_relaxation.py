"""Selected relaxation: the one expert that a Gumbel-Softmax draw selects is evaluated, and f_k ∇β_k the gradient."""

import torch
from torch import Tensor

from gatewise.errors import check_interval
from gatewise.estimators.base import Tempered
from gatewise.estimators.baselines import Baseline, make_baseline
from gatewise.estimators.registry import register
from gatewise.estimators.score_function import WithBaseline
from gatewise.expectation import Estimate, Integrand
from gatewise.noise import perturbed


@register
class SelectedRelaxation(Tempered, WithBaseline):
    """scale · (f(k) - b) ∇β_k, with β = softmax((log π + g) / λ) and k = argmax β.

    Unbiased for the value and the parameters of f (k is an exact draw); **biased for the logits**. As it is usually
    proposed (scale 1, no baseline) its expectation tends to one half of the gradient as λ → 0, and at λ > 0 it
    changes when a constant is added to f, which can reverse it. A baseline near E f and scale 2 repair most of
    that: the direction is then close, the length still short at large λ. Costs S evaluations an example.
    For L latents the direction is Σ_l β_{k_l}.

    Args:
        temperature: λ: a number, a schedule, or its text form.
        baseline: as for `score-function`.
        scale: the factor on the logits' gradient; 1 is the proposal, 2 its repair.
        context_dim: for "learned", the features of the context.
        decay: for "running-mean" and "learned", the weight of the past in the mean.

    Raises:
        GatewiseError: for an unknown baseline, or a temperature outside of 1e-4 to 1e4.

    >>> import torch
    >>> import gatewise as gw
    >>> logits = torch.zeros(10_000, 2, requires_grad=True)
    >>> f = gw.by_index(lambda z: z.float())  # d E f / d logits = [-1/4, 1/4]
    >>> estimator = gw.estimators.SelectedRelaxation(temperature=0.1, baseline="none")
    >>> gw.expect(f, logits, estimator, generator=torch.Generator().manual_seed(0)).value.sum().backward()
    >>> [round(slope, 1) for slope in logits.grad.mean(0).tolist()]  # half of it
    [-0.1, 0.1]
    """

    name = "selected-relaxation"
    unbiased = frozenset({"value", "parameters"})
    reference = "a common proposal, named and examined here"

    def __init__(
        self,
        temperature: float | str = 1.0,
        baseline: str | Baseline = "none",
        scale: float = 1.0,
        context_dim: int | None = None,
        decay: float = 0.9,
    ):
        super().__init__(temperature)
        self.baseline = make_baseline(baseline, context_dim, decay)
        check_interval(scale, "(0, 100]", f"estimator {self.name!r}: scale")
        self.scale = scale

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
        noisy = perturbed(logits, num_samples, generator)
        # Gumbel-max: an exact draw from π at any λ, so the value and f's parameters are unbiased
        index = noisy.argmax(-1)
        relaxed = (noisy / self.temperature).softmax(-1)
        values = integrand.at_index(index)
        selected = relaxed.gather(-1, index.unsqueeze(-1)).squeeze(-1)  # β_k, [S, *batch], or [S, *batch, L]
        if event_dims:
            selected = selected.sum(-1)
        return self.weighted_estimate(values, self.scale * selected, index, event_dims, context)
