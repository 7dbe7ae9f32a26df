"""REBAR and RELAX: the score function, with a relaxation of f as control variate."""

import torch
from torch import Tensor, nn

from gatewise.errors import GatewiseError
from gatewise.estimators.base import Tempered, one_hot, same_for_all, with_gradient
from gatewise.estimators.baselines import checked_context
from gatewise.estimators.inner import against, derivative, total
from gatewise.estimators.registry import register
from gatewise.expectation import Estimate, Info, Integrand, first_asked
from gatewise.noise import perturbed
from gatewise.schedules import Schedule


@register
class REBAR(Tempered):
    """[f(D) - η c(z̃)] ∇log π_D + η (∇c(z) - ∇c(z̃)), with c(z) = f(softmax(z/λ)): the mean over S draws.

    z = log π + Gumbels, D = argmax z, and z̃ ~ z given D; both are differentiated through θ. z̃ takes the noise that
    makes it equal to z (common random numbers, as in the authors' code), so that only its derivative differs:
    ∂z̃_i/∂log π_i = 1 - exp(z_i - z_D). Unbiased for the value (f(D)), the logits and the parameters of f, for every η
    and λ: both are learned here, by the gradient of ‖g‖², through `control_loss`. Costs all K evaluations: f is asked
    at each draw and at one relaxed point, the inner derivative ∂c/∂z is one more backward pass of f, and learning λ
    takes a second derivative of f (`learn_temperature=False` does without).

    Runs under `torch.compile` with graph breaks only: the inner derivative cannot be traced into one graph.

    Args:
        temperature: λ: a number, a schedule, or its text form; what is learned is a factor on it.
        scale: η, or the first η if it is learned.
        learn_temperature: learn the factor on λ.
        learn_scale: learn η.

    Raises:
        GatewiseError: for a temperature that is not positive.

    Reference: Tucker, Mnih, Maddison, Lawson and Sohl-Dickstein 2017 (1703.07370).
    """

    name = "rebar"
    calls = frozenset({"index", "point"})
    unbiased = frozenset({"value", "logits", "parameters"})
    compiles = False
    reference = "Tucker et al. 2017 (1703.07370)"

    scale: Tensor
    log_factor: Tensor

    def __init__(
        self,
        temperature: float | str | Schedule = 0.5,
        scale: float = 1.0,
        learn_temperature: bool = True,
        learn_scale: bool = True,
    ):
        super().__init__(temperature)
        for name, start, learn in (("log_factor", 0.0, learn_temperature), ("scale", float(scale), learn_scale)):
            if learn:
                self.register_parameter(name, nn.Parameter(torch.tensor(start)))
            else:
                self.register_buffer(name, torch.tensor(start))

    def evaluations(self, num_samples: int, num_categories: int) -> int:
        """A relaxed point asks for them all."""
        return num_categories

    def relaxed_value(self, integrand: Integrand, point: Tensor, event_dims: int, context: Tensor | None) -> Tensor:
        """c, `[S, *batch]`, at the relaxed points `[S, *batch, K]`."""
        return integrand.at_point(point)

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
        z = perturbed(logits.detach(), num_samples, generator).requires_grad_(torch.is_grad_enabled())
        index = z.argmax(-1)
        if not torch.is_grad_enabled():
            return Estimate(integrand.at_index(index).mean(0), None, self.info(index, logits, event_dims))
        points = self.relax(z).to(logits.dtype)
        relaxed = self.relaxed_value(integrand, points, event_dims, context).to(z.dtype)
        values = integrand.at_index(index)
        probs = logits.detach().to(z.dtype).softmax(-1)
        score = one_hot(index, probs) - probs
        plain = (against(values.detach().to(z.dtype), score) * score).mean(0)
        correction = self.correction(relaxed, z, probs, score)
        gradient = (plain + self.scale * correction).detach()
        control_loss = self.control_loss(gradient, correction, event_dims)
        value = with_gradient(values.mean(0), logits, gradient)
        return Estimate(value, control_loss, self.info(index, logits, event_dims))

    def relax(self, z: Tensor) -> Tensor:
        """softmax(z/λ), also differentiable in λ where a category is masked."""
        possible = z > -torch.inf
        scaled = torch.where(possible, z, 0.0) / (self.temperature * self.log_factor.exp())
        return torch.where(possible, scaled, -torch.inf).softmax(-1)

    def correction(self, relaxed: Tensor, z: Tensor, probs: Tensor, score: Tensor) -> Tensor:
        """-c(z̃) s(D) + ∇c(z) - ∇c(z̃), the mean over draws, shaped as the logits; its expectation is 0.

        Differentiable in what is learned.
        """
        learned = any(parameter is not self.scale for parameter in self.parameters())
        slope, fixed = derivative(relaxed, z, again=learned), z.detach()
        # ∂c/∂z_i times what ∂z_i/∂log π_i = 1 is more than ∂z̃_i/∂log π_i
        difference = slope * (fixed - fixed.amax(-1, keepdim=True)).exp()
        # and from log π to θ
        pulled = difference - probs * difference.sum(-1, keepdim=True)
        return (pulled - against(relaxed, score) * score).mean(0)

    def control_loss(self, gradient: Tensor, correction: Tensor, event_dims: int) -> Tensor | None:
        """Σ p · ∂(mean ‖g‖²)/∂p over what is learned, the derivative detached, so that nothing else is touched."""
        learned = list(self.parameters())
        if not learned:
            return None
        # ∂‖g‖²/∂η = 2 ⟨g, correction⟩ needs no derivative of the correction
        inner = 2 * total(gradient * correction, event_dims).sum() / max(1, gradient[..., 0].numel())
        slopes = {self.scale: inner.detach()} if self.scale.requires_grad else {}
        others = [parameter for parameter in learned if parameter is not self.scale]
        if others:
            found = torch.autograd.grad(self.scale.detach() * inner, others, allow_unused=True)
            slopes |= {p: slope.detach() for p, slope in zip(others, found, strict=True) if slope is not None}
        # where f has no second derivative nothing is learned; the estimate is unbiased whatever is learned
        finite = {p: slope.nan_to_num(0.0, 0.0, 0.0) for p, slope in slopes.items()}
        return sum(((p * slope).sum() for p, slope in finite.items()), torch.zeros_like(inner.detach()))

    def info(self, index: Tensor, logits: Tensor, event_dims: int) -> Info:
        """What was drawn and asked."""
        one_latent = index[0, ..., 0] if event_dims else index[0]
        return Info(lambda: same_for_all(one_latent, logits.shape[-1]), index=index)


@register
class RELAX(REBAR):
    """REBAR with c(z) = f(softmax(z/λ)) + r(softmax(z/λ), x), r a network that is learned with η and λ.

    Unbiased for the value (f(D)), the logits and the parameters of f, for every r. Costs as REBAR: all K evaluations.
    With `black_box=True` c is r alone: f is then asked at the S draws only, and need not be differentiable.
    For L latents r is the sum of the network over them. The network starts at 0, so that RELAX starts as REBAR. (The
    authors' r takes z; here it takes the softmax, which is finite where a category is masked.)

    Runs under `torch.compile` with graph breaks only: the inner derivative cannot be traced into one graph.

    Args:
        num_categories: K.
        context_dim: features of the `context` given to `expect`; None lets r see the point alone.
        temperature: λ: a number, a schedule, or its text form; what is learned is a factor on it.
        scale: η, or the first η if it is learned.
        hidden: width of the network's one hidden layer.
        black_box: leave f out of c.
        learn_temperature: learn the factor on λ.
        learn_scale: learn η.

    Raises:
        GatewiseError: for a temperature that is not positive, for logits of another K, or without the context.

    Reference: Grathwohl, Choi, Wu, Roeder and Duvenaud 2018 (1711.00123).
    """

    name = "relax"
    reference = "Grathwohl et al. 2018 (1711.00123)"

    def __init__(
        self,
        num_categories: int,
        context_dim: int | None = None,
        temperature: float | str | Schedule = 0.5,
        scale: float = 1.0,
        hidden: int = 32,
        black_box: bool = False,
        learn_temperature: bool = True,
        learn_scale: bool = True,
    ):
        super().__init__(temperature, scale, learn_temperature, learn_scale)
        self.num_categories, self.context_dim, self.black_box = num_categories, context_dim, black_box
        if black_box:
            self.calls = frozenset({"index"})
        self.first = nn.Linear(num_categories + (context_dim or 0), hidden)
        self.last = nn.Linear(hidden, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def evaluations(self, num_samples: int, num_categories: int) -> int:
        """Those drawn if f is a black box, otherwise all."""
        return min(num_samples, num_categories) if self.black_box else num_categories

    def relaxed_value(self, integrand: Integrand, point: Tensor, event_dims: int, context: Tensor | None) -> Tensor:
        """f + r, or r alone."""
        if point.shape[-1] != self.num_categories:
            raise GatewiseError(
                f"estimator {self.name!r} was made for {self.num_categories} categories and got {point.shape[-1]}; "
                f"make it with num_categories={point.shape[-1]}"
            )
        seen = point.to(self.first.weight.dtype)
        if self.context_dim is not None:
            features = checked_context(context, self.context_dim, f"estimator {self.name!r}").to(seen.dtype)
            if event_dims:
                features = features.unsqueeze(-2)
            seen = torch.cat([seen, features.expand(*seen.shape[:-1], self.context_dim)], -1)
        # a smooth activation, because learning it differentiates its derivative
        # scaled, so that the steps of an optimiser such as Adam do not shake r more the wider the network is
        learned = total(self.last(self.first(seen).tanh()) / self.last.in_features**0.5, event_dims)
        return learned if self.black_box else super().relaxed_value(integrand, point, event_dims, context) + learned

    def info(self, index: Tensor, logits: Tensor, event_dims: int) -> Info:
        """What was drawn and asked."""
        if not self.black_box:
            return super().info(index, logits, event_dims)
        return Info(lambda: first_asked(index, event_dims)[0].sum(0), index=index)
