"""Implicit maximum likelihood: how the argmax moves when the logits move against f."""

import torch
from torch import Tensor

from gatewise.errors import check_interval
from gatewise.estimators.base import Tempered, info_of_all, mean_of_samples, one_hot, shift_only, with_gradient
from gatewise.estimators.inner import value_alone, value_and_slope
from gatewise.estimators.registry import register
from gatewise.estimators.statistics import note_repetition, scaled_gradient, updated_after_backward
from gatewise.expectation import Estimate, Integrand
from gatewise.noise import perturbed
from gatewise.precision import WideState, widened
from gatewise.schedules import Schedule


@register
class ImplicitMLE(Tempered, WideState):
    """(z - z′)/λ, z = argmax(θ + ε), z′ = argmax(θ + ε - λ ∂f/∂z), the same Gumbels ε: the mean over S draws.

    Unbiased for the value and the parameters of f (z is an exact draw). Biased for the logits: even for a linear f it
    is too short by a factor that falls with λ, and for a curved f its direction can be wrong; as λ → 0 its variance
    grows like 1/λ. ∂f/∂z is each example's own, taken by an inner derivative at the drawn corner, and not the
    gradient of the loss, which carries 1/B. (The authors' code leaves out 1/λ.) Costs all K evaluations.

    With `adaptive=True` (AIMLE) λ = α ‖θ‖ / ‖∂f/∂z‖ over the batch, θ centred, and α moves by `rate` once the gradient
    of a call has been taken: up while the number of non-zero entries of z - z′ per draw, averaged over calls, is below
    1, down while it is above. The first α is `temperature`.

    Runs under `torch.compile` with graph breaks only: the inner derivative cannot be traced into one graph.

    Args:
        temperature: λ: a number, a schedule, or its text form; with `adaptive` the first α, a number.
        adaptive: let λ follow the sparsity of z - z′.
        rate: the step of α.
        decay: the weight of the past in the average number of non-zero entries.

    Raises:
        GatewiseError: for a temperature outside of 1e-4 to 1e4.

    >>> import torch
    >>> import gatewise as gw
    >>> logits, scores = torch.zeros(5, 3, requires_grad=True), torch.tensor([0.0, 1.0, 2.0])
    >>> estimator = gw.estimators.ImplicitMLE(temperature=1.0)
    >>> value = gw.expect(lambda point: point @ scores, logits, estimator, num_samples=4).value
    >>> value.sum().backward()
    >>> value.shape, logits.grad.shape
    (torch.Size([5]), torch.Size([5, 3]))

    Reference: Niepert, Minervini and Franceschi 2021 (2106.01798); adaptive: Minervini et al. 2023 (2209.04862).
    """

    name = "implicit-mle"
    calls = frozenset({"index", "point"})
    unbiased = frozenset({"value", "parameters"})
    compiles = False
    reference = "Niepert et al. 2021 (2106.01798); Minervini et al. 2023 (2209.04862)"

    alpha: Tensor
    nonzero: Tensor
    held_entries: Tensor
    held_draws: Tensor

    def __init__(
        self,
        temperature: float | str | Schedule = 1.0,
        adaptive: bool = False,
        rate: float = 1e-3,
        decay: float = 0.9,
    ):
        super().__init__(temperature)
        check_interval(rate, "(0, 1]", f"estimator {self.name!r}: rate")
        check_interval(decay, "[0, 1)", f"estimator {self.name!r}: decay")
        self.adaptive, self.rate, self.decay = adaptive, rate, decay
        self.whole_batch = adaptive
        if adaptive:
            self.register_buffer("alpha", torch.tensor(float(self.temperature)))
            self.register_buffer("nonzero", torch.ones(()))
            for name in ("held_entries", "held_draws"):  # what accumulated gradients hold until `commit`
                self.register_buffer(name, torch.zeros(()), persistent=False)

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
        noisy = perturbed(logits.detach(), num_samples, generator)
        index = noisy.argmax(-1)
        if not torch.is_grad_enabled():
            note_repetition()
            return value_alone(integrand, index, logits)
        corner = one_hot(index, noisy)
        slope = value_and_slope(integrand, corner.to(logits.dtype))[1]
        # asked again: the inner derivative's graph ends at the point, and this one reaches the parameters of f
        value = mean_of_samples(integrand.at_index(index))
        step = self.step_size(widened(logits.detach()), slope)
        # what is masked stays behind, whatever the derivative is there
        moved = one_hot(torch.where(noisy > -torch.inf, noisy - step * slope, noisy).argmax(-1), noisy)
        gradient = ((corner - moved) / step).mean(0)  # [*batch, (L,) K]
        if self.adaptive:
            # what a checkpoint repeats keeps the first pass's λ
            moves = scaled_gradient(shift_only(logits), torch.zeros_like(gradient), -gradient)
            value = value + moves.flatten(value.dim()).sum(-1).to(value.dtype)
        else:
            value = with_gradient(value, logits, gradient)
        if self.adaptive and self.training:
            value, _ = updated_after_backward(self, corner - moved, self.hold_statistics, value)
        return Estimate(value, None, info_of_all(value, logits, index))

    def step_size(self, logits: Tensor, slope: Tensor) -> Tensor | float:
        """λ."""
        if not self.adaptive:
            return self.temperature
        possible = logits > -torch.inf
        centred = torch.where(possible, logits, 0.0)
        centred = torch.where(possible, centred - centred.sum(-1, True) / possible.sum(-1, True), 0.0).to(slope.dtype)
        # ‖∂f/∂z‖ as of one sample: over all S it is √S as long
        # where all logits are equal, or f is flat, any step will do
        size, against = centred.norm(), slope.norm() / len(slope) ** 0.5
        ratio = torch.where((size > 0) & (against > 0), size / against.clamp_min(1e-30), 1.0)
        # z - z′ is divided by it, and a step of 0 would make that 0 / 0
        return (self.alpha * ratio).clamp_min(1e-6)

    def observe(self, difference: Tensor) -> None:
        """Hold the count of non-zero entries of z - z′, `[S, *batch, K]`, until `commit`."""
        self.held_entries.add_((difference != 0).sum())
        self.held_draws.add_(difference[..., 0].numel())

    def commit(self) -> None:
        """Move α toward one non-zero entry a draw; where nothing is held it stays."""
        if self.adaptive:
            moves = self.held_draws > 0
            self.nonzero.lerp_(self.held_entries / self.held_draws.clamp_min(1), moves * (1 - self.decay))
            # at 0 and no lower: a negative step would turn the gradient around
            self.alpha.add_(moves * torch.where(self.nonzero < 1, self.rate, -self.rate)).clamp_min_(0.0)
            self.held_entries.zero_()
            self.held_draws.zero_()

    def update(self, difference: Tensor, hold: bool) -> None:
        """`observe`, and unless `hold` is set `commit`."""
        self.observe(difference)
        if not hold:
            self.commit()
