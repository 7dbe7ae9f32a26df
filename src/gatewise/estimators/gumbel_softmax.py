"""Gumbel-Softmax (Concrete) and its straight-through form."""

import torch
from torch import Tensor

from gatewise.estimators.base import PointEstimator, one_hot, straight_through
from gatewise.estimators.registry import register
from gatewise.noise import perturbed


@register
class GumbelSoftmax(PointEstimator):
    """f(β), β = softmax((log π + g) / λ), g Gumbel noise.

    Biased for the value, the logits and the parameters of f: β is not a category, and λ trades bias (high) for
    variance (low, like 1/λ). Even for an f linear in the point the value and the parameters see E β, which is not
    π for λ > 0 unless π is uniform. Costs all K evaluations.

    Args:
        temperature: λ: a number, a schedule, or its text form.

    >>> import torch
    >>> import gatewise as gw
    >>> estimator = gw.estimators.GumbelSoftmax("exponential:1:0.1")
    >>> estimator.set_progress(0.5)
    >>> round(estimator.temperature, 3)
    0.316
    >>> point = gw.sample(torch.zeros(2, 3), estimator)  # the place of F.gumbel_softmax
    >>> point.shape, point.sum(-1).round(decimals=4).tolist()
    (torch.Size([2, 3]), [1.0, 1.0])

    Reference: Jang, Gu and Poole 2017 (1611.01144); Maddison, Mnih and Teh 2017 (1611.00712).
    """

    name = "gumbel-softmax"
    reference = "Jang et al. 2017 (1611.01144); Maddison et al. 2017 (1611.00712)"

    def draw(self, logits: Tensor, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """β, `[S, *logits.shape]`."""
        return self.tempered(perturbed(logits, num_samples, generator)).softmax(-1).to(logits.dtype)


@register
class StraightThroughGumbelSoftmax(PointEstimator):
    """Forward the one-hot category argmax β, backward through β = softmax((log π + g) / λ).

    Unbiased for the value and the parameters of f (the forward point is an exact draw); biased for the logits.
    Costs all K evaluations where f is a mixture; one where f itself looks at the category alone.

    Args:
        temperature: λ: a number, a schedule, or its text form.

    >>> import torch
    >>> import gatewise as gw
    >>> estimator = gw.estimators.StraightThroughGumbelSoftmax(temperature=0.5)
    >>> point = gw.sample(torch.zeros(3, requires_grad=True), estimator)
    >>> sorted(point.tolist()), point.requires_grad
    ([0.0, 0.0, 1.0], True)

    Reference: Jang, Gu and Poole 2017 (1611.01144).
    """

    name = "straight-through-gumbel-softmax"
    unbiased = frozenset({"value", "parameters"})
    reference = "Jang et al. 2017 (1611.01144)"

    def draw(self, logits: Tensor, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """A one-hot point with the gradient of β, `[S, *logits.shape]`."""
        noisy = perturbed(logits, num_samples, generator)
        # the argmax of what goes into the softmax: at a high λ β itself rounds to ties
        return straight_through(one_hot(noisy.argmax(-1), logits), self.tempered(noisy).softmax(-1))
