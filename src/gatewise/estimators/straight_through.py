"""Straight-through: a drawn category forward, the derivative of a softmax backward."""

import torch
from torch import Tensor

from gatewise.estimators.base import PointEstimator, one_hot, straight_through
from gatewise.estimators.registry import register
from gatewise.precision import widened
from gatewise.schedules import Schedule, as_schedule, check_temperature


@register
class StraightThrough(PointEstimator):
    """D forward, J(π) ∂f/∂z at e_D backward; D ~ π, and J(π) = diag π - π πᵀ is the derivative of the softmax.

    Unbiased for the value and the parameters of f. Biased for the logits unless f is linear in z: it is the first
    order of the Taylor expansion of f(z) - f(D). Costs all K evaluations.

    >>> import torch
    >>> import gatewise as gw
    >>> logits = torch.zeros(3, requires_grad=True)
    >>> point = gw.sample(logits, gw.estimators.StraightThrough(), generator=torch.Generator().manual_seed(0))
    >>> sorted(point.tolist())  # a category, as a one-hot vector
    [0.0, 0.0, 1.0]
    >>> (point * torch.tensor([0.0, 0.0, 9.0])).sum().backward()
    >>> [round(slope, 3) for slope in logits.grad.tolist()]  # 9 · the last row of J(π), whatever was drawn
    [-1.0, -1.0, 2.0]

    Reference: Bengio, Léonard and Courville 2013 (1308.3432).
    """

    name = "straight-through"
    unbiased = frozenset({"value", "parameters"})
    reference = "Bengio et al. 2013 (1308.3432)"

    def __init__(self) -> None:
        super().__init__(1.0)

    def draw(self, logits: Tensor, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """A one-hot point with the gradient of π, `[S, *logits.shape]`."""
        index = self.draw_index(logits, num_samples, generator)
        return straight_through(one_hot(index, logits), widened(logits).unsqueeze(0).softmax(-1))


@register
class DecoupledStraightThrough(PointEstimator):
    """D forward, (1/τ) J(p) ∂f/∂z at e_D backward, with D ~ softmax(θ/τ_f) and p = softmax(θ/τ).

    For τ_f = 1, D ~ π and the value and the parameters of f are unbiased; for another τ_f nothing is. The logits
    are biased unless f is linear and τ = 1. Costs all K evaluations. The paper writes the forward temperature
    within an argmax over Gumbel-perturbed logits; there it has an effect only if the noise is not divided by it,
    which is sampling from softmax(θ/τ_f), as here. (The authors' code divides both, which does nothing.)

    Args:
        temperature: τ, of the backward pass: a number, a schedule, or its text form.
        forward_temperature: τ_f: a number, a schedule, or its text form.

    Raises:
        GatewiseError: for a temperature outside of 1e-4 to 1e4.

    >>> import torch
    >>> import gatewise as gw
    >>> estimator = gw.estimators.DecoupledStraightThrough(temperature=2.0, forward_temperature=0.5)
    >>> point = gw.sample(torch.zeros(3, 4), estimator, num_samples=2)
    >>> point.shape, sorted(estimator.unbiased)
    (torch.Size([2, 3, 4]), [])

    Reference: Shah, Yan, Mozer and Liu 2024 (2410.13331).
    """

    name = "decoupled-straight-through"
    reference = "Shah et al. 2024 (2410.13331)"

    def __init__(self, temperature: float | str | Schedule = 1.0, forward_temperature: float | str | Schedule = 1.0):
        self.forward_schedule = as_schedule(forward_temperature)
        super().__init__(temperature)

    @property
    def unbiased(self) -> frozenset[str]:  # pyrefly: ignore[bad-override]
        """The value and the parameters while the draw is from π itself."""
        return frozenset({"value", "parameters"} if self.forward_temperature == 1.0 else ())

    def set_progress(self, progress: float) -> None:
        """Set both temperatures from their schedules."""
        super().set_progress(progress)
        what = f"estimator {self.name!r}: the forward temperature"
        self.forward_temperature = check_temperature(self.forward_schedule(progress), what)

    def draw(self, logits: Tensor, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """A one-hot point with the gradient of softmax(θ/τ), `[S, *logits.shape]`."""
        wide = widened(logits)
        forward = self.forward_temperature
        index = self.draw_index(wide if forward == 1.0 else wide.detach() / forward, num_samples, generator)
        return straight_through(one_hot(index, logits), self.tempered(wide.unsqueeze(0)).softmax(-1))

    def extra_repr(self) -> str:
        """Both schedules, for `print`."""
        return f"{super().extra_repr()}, forward_temperature={self.forward_schedule}"
