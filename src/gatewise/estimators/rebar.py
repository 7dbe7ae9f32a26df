"""REBAR and RELAX: the score function, with a relaxation of f as control variate."""

import torch
from torch import Tensor, nn

from gatewise.errors import GatewiseError, check_interval
from gatewise.estimators.base import (
    SCALES,
    Tempered,
    finite,
    info_of_all,
    info_of_draws,
    mean_of_samples,
    one_hot,
    with_gradient,
)
from gatewise.estimators.baselines import checked_context
from gatewise.estimators.inner import derivative, sum_categories, unsqueezed_to
from gatewise.estimators.registry import register
from gatewise.expectation import Estimate, Info, Integrand
from gatewise.noise import perturbed
from gatewise.precision import WideState, widened
from gatewise.schedules import HIGHEST, LOWEST, Schedule


@register
class REBAR(Tempered, WideState):
    """[f(D) - η c(z̃)] ∇log π_D + η (∇c(z) - ∇c(z̃)), with c(z) = f(softmax(z/λ)): the mean over S draws.

    z = log π + Gumbels, D = argmax z, and z̃ ~ z given D; both are differentiated through θ. z̃ takes the noise that
    makes it equal to z (common random numbers, as in the authors' code), so that only its derivative differs:
    ∂z̃_i/∂log π_i = 1 - exp(z_i - z_D). Unbiased for the value (f(D)), the logits and the parameters of f, for every η
    and λ: both are learned here, by the gradient of ‖g‖², through `control_loss`. Costs all K evaluations: f is asked
    at each draw and at one relaxed point, the inner derivative ∂c/∂z is one more backward pass of f, and learning λ
    takes a second derivative of f (`learn_temperature=False` does without).

    Runs neither under `torch.compile` nor within transforms of `torch.func`, which take no derivative of a derivative:
    in a step that is compiled, put what calls `expect` under `torch.compiler.disable`.

    Args:
        temperature: λ: a number, a schedule, or its text form; what is learned is a factor on it.
        scale: η, or the first η if it is learned.
        learn_temperature: learn the factor on λ.
        learn_scale: learn η.

    Raises:
        GatewiseError: for a temperature outside of 1e-4 to 1e4, or a scale beyond 100; within a transform of
            `torch.func`.

    >>> import torch
    >>> import gatewise as gw
    >>> logits, scores = torch.zeros(2, 3, requires_grad=True), torch.tensor([0.0, 1.0, 2.0])
    >>> estimator = gw.estimators.REBAR()
    >>> estimate = gw.expect(lambda point: (point @ scores) ** 2, logits, estimator)
    >>> (estimate.value.sum() + estimate.control_loss).backward()
    >>> [name for name, p in estimator.named_parameters() if p.grad is not None]  # learned with the model
    ['log_factor', 'scale']

    Reference: Tucker, Mnih, Maddison, Lawson and Sohl-Dickstein 2017 (1703.07370).
    """

    name = "rebar"
    calls = frozenset({"index", "point"})
    unbiased = frozenset({"value", "logits", "parameters"})
    compiles = False
    wide_parameters = ("scale", "log_factor")
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
        check_interval(scale, SCALES, f"estimator {self.name!r}: scale")
        for name, start, learn in (("log_factor", 0.0, learn_temperature), ("scale", float(scale), learn_scale)):
            if learn:
                self.register_parameter(name, nn.Parameter(torch.tensor(start)))
            else:
                self.register_buffer(name, torch.tensor(start))

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
        if torch._C._are_functorch_transforms_active():
            raise GatewiseError(
                f"estimator {self.name!r} takes derivatives of derivatives by autograd, which transforms of torch.func "
                "do not let it; take 'muprop', or call backward in the place of torch.func.grad"
            )
        z = perturbed(logits.detach(), num_samples, generator).requires_grad_(torch.is_grad_enabled())
        index = z.argmax(-1)  # [S, *batch], or [S, *batch, L]
        if not torch.is_grad_enabled():
            value = mean_of_samples(integrand.at_index(index))
            return Estimate(value, None, self.info(value, logits, index, event_dims))
        relaxed = self.relaxed_value(integrand, self.relax(z).to(logits.dtype), event_dims, context).to(z.dtype)
        values = integrand.at_index(index)
        probs = widened(logits.detach()).softmax(-1)
        score = one_hot(index, probs) - probs
        learned = [parameter for parameter in self.parameters() if parameter is not self.scale]
        # its graph is kept only where λ or c is learned: ∂‖g‖²/∂η has no second derivative of f in it
        slope = derivative(relaxed, z, again=bool(learned))
        fixed = z.detach()
        # what ∂z_i/∂log π_i = 1 is more than ∂z̃_i/∂log π_i
        ahead = (fixed - fixed.amax(-1, keepdim=True)).exp()
        scale, difference = self.scale.detach(), slope.detach() * ahead
        # and from log π to θ
        pulled = torch.addcmul(difference, probs, difference.sum(-1, keepdim=True), value=-1)
        # f(D) - η c(z̃), c(z̃) = c(z): with common random numbers the two relaxed points are one
        left = torch.addcmul(values.detach().to(z.dtype), scale, relaxed.detach(), value=-1)
        # samples are averaged before the norm is taken: it is the variance of their mean that η and λ are to lower
        gradient = mean_of_samples(torch.addcmul(scale * pulled, unsqueezed_to(left, score), score))
        control_loss = None
        if learned or self.scale.requires_grad:
            # 2/N ⟨gradient, ∇c(z) - ∇c(z̃) - c(z̃) s(D)⟩ is ⟨along, slope⟩ - ⟨weight, relaxed⟩
            ascent = gradient * (2 * slope.shape[-1] / max(1, slope.numel()))
            along = ahead * (ascent - (probs * ascent).sum(-1, keepdim=True))
            weight = sum_categories(score * ascent, event_dims)
            control_loss = self.control_loss(slope, relaxed, z, along, weight, learned)
        value = with_gradient(mean_of_samples(values), logits, gradient)
        return Estimate(value, control_loss, self.info(value, logits, index, event_dims))

    def relax(self, z: Tensor) -> Tensor:
        """softmax(z/λ), for the derivatives in z alone: `control_loss` finds those in λ from them."""
        # within the range of temperatures, however far the factor has been learned
        factor = self.log_factor.detach().exp().clamp(LOWEST / self.temperature, HIGHEST / self.temperature)
        return (z / (self.temperature * factor)).softmax(-1)

    def control_loss(
        self, slope: Tensor, relaxed: Tensor, z: Tensor, along: Tensor, weight: Tensor, learned: list[nn.Parameter]
    ) -> Tensor:
        """Σ p · ∂(mean ‖g‖²)/∂p over what is learned, the derivative detached, so that nothing else is touched.

        ∂(mean ‖g‖²)/∂η is h = ⟨along, slope⟩ - ⟨weight, c⟩, where c is `relaxed`, and for another p it is η ∂h/∂p, with
        the weights held constant. c has z and λ in it as z/λ alone, so that ∂c/∂log λ = -⟨z, ∂c/∂z⟩; slope = ∂c/∂z has
        one more factor 1/λ: ∂slope/∂log λ = -slope - ⟨z, ∂slope/∂z⟩.
        """
        scale, by_slope = self.scale.detach(), (along * slope.detach()).sum()
        slopes: dict[Tensor, Tensor] = {}
        if self.scale.requires_grad:
            slopes[self.scale] = by_slope - (weight * relaxed.detach()).sum()
        if learned:
            sought = [z if parameter is self.log_factor else parameter for parameter in learned]
            weights = (scale * along, -scale * weight)
            found = torch.autograd.grad((slope, relaxed), sought, weights, allow_unused=True)
            slopes |= {p: by_p for p, by_p in zip(learned, found, strict=True) if by_p is not None}
            if self.log_factor in slopes:
                # where a category is masked 0, and not -∞ · 0
                by_z = (finite(z.detach()) * slopes[self.log_factor]).sum()
                slopes[self.log_factor] = -scale * by_slope - by_z
        # where f has no second derivative nothing is learned; the estimate is unbiased whatever is learned
        terms = [parameter * slope.nan_to_num(0.0, 0.0, 0.0) for parameter, slope in slopes.items()]
        terms = [term.sum() if term.dim() else term for term in terms]
        return sum(terms[1:], terms[0]) if terms else torch.zeros_like(by_slope)

    def info(self, value: Tensor, logits: Tensor, index: Tensor, event_dims: int) -> Info:
        """What was drawn and asked."""
        return info_of_all(value, logits, index) if "point" in self.calls else info_of_draws(index, event_dims)


@register
class RELAX(REBAR):
    """REBAR with c(z) = f(softmax(z/λ)) + r(softmax(z/λ), x), r a network that is learned with η and λ.

    Unbiased for the value (f(D)), the logits and the parameters of f, for every r. Costs as REBAR: all K evaluations.
    With `black_box=True` c is r alone: f is then asked at the S draws only, and need not be differentiable.
    For L latents r is the sum of the network over them. The network starts at 0, so that RELAX starts as REBAR. (The
    authors' r takes z; here it takes the softmax, which is finite where a category is masked.)

    Runs neither under `torch.compile` nor within transforms of `torch.func`, which take no derivative of a derivative:
    in a step that is compiled, put what calls `expect` under `torch.compiler.disable`.

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
        GatewiseError: for a temperature outside of 1e-4 to 1e4, a scale beyond 100, logits of another K, or without
            the context.

    >>> import torch
    >>> import gatewise as gw
    >>> logits, f = torch.zeros(2, 3, requires_grad=True), gw.by_index(lambda z: z.float())
    >>> estimator = gw.estimators.RELAX(num_categories=3, black_box=True)
    >>> estimate = gw.expect(f, logits, estimator)
    >>> estimate.value.shape, estimate.control_loss.shape
    (torch.Size([2]), torch.Size([]))

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
        learned = sum_categories(self.last(self.first(seen).tanh()) / self.last.in_features**0.5, event_dims)
        return learned if self.black_box else super().relaxed_value(integrand, point, event_dims, context) + learned
