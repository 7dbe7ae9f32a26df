"""ReinMax: straight-through to the second order, by Heun's method."""

import torch
from torch import Tensor

from gatewise.errors import check_choice, check_interval
from gatewise.estimators.base import SCALES, PointEstimator, one_hot, straight_through
from gatewise.estimators.gumbel_rao import conditional_softmax
from gatewise.estimators.registry import register
from gatewise.estimators.surrogate import with_jacobians
from gatewise.precision import widened
from gatewise.schedules import Schedule

VARIANTS = ("plain", "rao-blackwell", "control-variate")


@register
class ReinMax(PointEstimator):
    """D forward; 2 J(m) g - ½ J(π) g backward, with m = (softmax(θ/t) + D)/2, g = ∂f/∂z at e_D, J(q) = diag q - q qᵀ.

    Unbiased for the value and the parameters of f. For the logits exact in expectation where f is quadratic in z and
    t = 1, biased otherwise (at t ≠ 1 already for a linear f; the paper takes t ≥ 1). Costs all K evaluations.

    Two forms of Wang and Bui use Gumbels around θ_D = log((π + D)/2), given that D came out highest:
    "rao-blackwell" (ReinMax-Rao, their equation 17) puts the Gumbel-Rao Jacobian at θ_D and temperature t in the place
    of J(m); "control-variate" (ReinMax-CV, equation 18) is plain ReinMax at t = 1 plus η times the difference of the
    Gumbel-Rao Jacobian and that of one Gumbel-Softmax draw. The equations, as the authors' code reads them: the term
    -½ J(π) g stays at θ, and J(m) keeps its factor 2. Their code reuses in the control variate the Gumbels of the
    draw, which follow θ and not θ_D, so that it has a mean; here they follow θ_D, and given D it has mean 0. So its
    bias is that of ReinMax, and its variance not less: plain ReinMax has no noise besides D.

    Args:
        temperature: t: a number, a schedule, or its text form.
        variant: "plain", "rao-blackwell" or "control-variate".
        scale: η of "control-variate".
        replicates: M, the draws of the Gumbels in the other two.

    Raises:
        GatewiseError: for a temperature outside of 1e-4 to 1e4, an unknown variant, a scale beyond 100, or replicates
            below 1.

    >>> import torch
    >>> import gatewise as gw
    >>> logits = torch.zeros(1, 2, requires_grad=True)
    >>> square = lambda point: (point @ torch.tensor([0.0, 2.0])) ** 2  # quadratic in z: exact in expectation
    >>> gw.expect(square, logits, gw.estimators.ReinMax(), num_samples=20_000).value.sum().backward()
    >>> [round(slope, 1) for slope in logits.grad[0].tolist()]  # 4 π₀ π₁ = 1
    [-1.0, 1.0]

    Reference: Liu, Dong, Liu, Yu and Gao 2023 (2304.08612); Wang and Bui 2026 (2603.08257).
    """

    name = "reinmax"
    unbiased = frozenset({"value", "parameters"})
    reference = "Liu et al. 2023 (2304.08612); Wang & Bui 2026 (2603.08257)"

    def __init__(
        self,
        temperature: float | str | Schedule = 1.0,
        variant: str = "plain",
        scale: float = 0.5,
        replicates: int = 10,
    ):
        super().__init__(temperature)
        check_choice(variant, VARIANTS, "variant", f"estimator {self.name!r}")
        check_interval(scale, SCALES, f"estimator {self.name!r}: scale")
        check_interval(replicates, "[1, inf)", f"estimator {self.name!r}: replicates", whole=True)
        self.variant, self.scale, self.replicates = variant, scale, replicates

    def draw(self, logits: Tensor, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        """A one-hot point with the surrogate's gradient, `[S, *logits.shape]`."""
        index = self.draw_index(logits, num_samples, generator)
        corner = one_hot(index, logits)
        if self.variant == "plain":
            return self.heun(widened(logits).unsqueeze(0), corner, index)
        probs = widened(logits.detach()).softmax(-1)
        first_order = (-0.5, probs)
        middle = (probs + corner) / 2  # m at t = 1; its logarithm is the paper's θ_D
        if self.variant == "rao-blackwell":
            draws = conditional_softmax(middle.log(), index, self.temperature, self.replicates, generator)
            return with_jacobians(corner, logits, (2 / self.temperature, draws), first_order)
        draws = conditional_softmax(middle.log(), index, self.temperature, self.replicates + 1, generator)
        # one of M + 1 is the Gumbel-Softmax draw of equation 18: given D all have one law, so the control has mean 0
        weight = self.scale / self.temperature
        control = ((weight, draws[1:]), (-weight, draws[0]))
        return with_jacobians(corner, logits, (2.0, middle), first_order, *control)

    def heun(self, logits: Tensor, corner: Tensor, index: Tensor) -> Tensor:
        """The corner with the gradient 2 J(m) g - ½ J(π) g, for logits `[1, *batch, K]`, in plain operations.

        With q = softmax(θ/t), 2 J(m) = J(q) + ½ (D - q) (D - q)ᵀ; and J(q) = t ∂q/∂θ, (D - q) = t ∂(log q_D)/∂θ.
        """
        # for t < 1 q_D can come to 0 at a D that π draws; its logarithm stays finite
        log_q = self.tempered(logits).log_softmax(-1)
        q, log_q_drawn = log_q.exp(), log_q.expand_as(corner).gather(-1, index.unsqueeze(-1))
        away = corner - q.detach()
        if self.temperature == 1.0:  # where q = π
            return straight_through(corner, torch.addcmul(q, away, log_q_drawn), 0.5)
        twice = torch.addcmul(q, away, log_q_drawn, value=0.5)
        relaxed = torch.sub(twice, logits.softmax(-1), alpha=0.5 / self.temperature)
        return straight_through(corner, relaxed, self.temperature)

    def extra_repr(self) -> str:
        """The options, for `print`."""
        return f"{super().extra_repr()}, variant={self.variant!r}"
