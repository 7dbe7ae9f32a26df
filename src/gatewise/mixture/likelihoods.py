"""Log-probabilities and their slopes, each in a form that loses no digits where the textbook's subtracts large numbers.

Those of numbers and counts are computed in float64 and cost no more than a row's few outputs: in float32 y log λ - λ -
log y! at a million is off by a nat. What autograd would subtract too is given as a formula of its own. All can be
differentiated again, backward and forward, as for `torch.func.hessian`.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from gatewise.autograd import both_ways, keep

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
NEAR = (-0.3, 0.4)
"""Where log(1 + t) - t is a series: beyond, no more than one digit is lost."""
MANY = 15
"""From here on Stirling's series has all digits of float64."""


def log_softmax(logits: Tensor) -> Tensor:
    """log p of every class, `[..., C]`, right in its own size also where p is nearly 1.

    With M the greatest logit log p_j = (x_j - M) - log(1 + R), R the sum of e^(x - M) over the others; the usual form
    has 0 for -e^-30. A graph that is compiled or exported keeps the one operation, which is right to 1e-7.
    """
    if torch.compiler.is_compiling() or not logits.shape[-1]:
        return logits.log_softmax(-1)
    return _log_softmax(logits)


class _LogSoftmax(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor) -> Tensor:
        most, first = logits.max(-1, keepdim=True)
        off = logits - most
        others = off.exp().scatter(-1, first, 0.0)
        return off - others.sum(-1, keepdim=True).log1p()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        keep(ctx, output)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:  # pyrefly: ignore[bad-override]
        (log_p,) = ctx.saved_tensors
        # 1 - p by expm1: as a difference it would be 0 where p is nearly 1
        return -log_p.expm1() * slope - log_p.exp() * (slope.sum(-1, keepdim=True) - slope)

    @staticmethod
    def along(ctx: Any, along: Tensor) -> Tensor:  # pyrefly: ignore[bad-override]
        (log_p,) = ctx.saved_tensors
        weighed = log_p.exp() * along
        return -log_p.expm1() * along - (weighed.sum(-1, keepdim=True) - weighed)


_log_softmax = both_ways(_LogSoftmax)


def poisson_log_prob(y: Tensor, rate: Tensor) -> Tensor:
    """-deviance / 2 - log(2πy) / 2 - what Stirling's formula for y! is off; -inf for what is no count (Loader 2000)."""
    return _poisson(*torch.broadcast_tensors(y, rate))


class _PoissonLogProb(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(y: Tensor, rate: Tensor) -> Tensor:
        some = y.clamp_min(1.0)
        log_p = -poisson_deviance(y, rate) / 2 - (HALF_LOG_2PI + some.log() / 2 + _stirling_error(some)) * (y > 0)
        return torch.where((y >= 0) & (y == y.round()), log_p, -math.inf)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        keep(ctx, *inputs)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[None, Tensor]:  # pyrefly: ignore[bad-override]
        y, rate = ctx.saved_tensors
        return None, slope * (y - rate) / rate

    @staticmethod
    def along(ctx: Any, _: Tensor | None, of_rate: Tensor) -> Tensor:  # pyrefly: ignore[bad-override]
        y, rate = ctx.saved_tensors
        return of_rate * (y - rate) / rate


_poisson = both_ways(_PoissonLogProb)


def poisson_deviance(y: Tensor, rate: Tensor) -> Tensor:
    """2 (y log(y / rate) - y + rate), without cancellation where y is near the rate."""
    some = y.clamp_min(1.0)
    off = (rate - y) / some
    apart = some * (some / rate).log() + rate - some
    near = (off > NEAR[0]) & (off < NEAR[1])
    return 2 * torch.where(y > 0, torch.where(near, -some * log1p_less(off), apart), rate)


def _stirling_error(n: Tensor) -> Tensor:
    """log n! less Stirling's formula (n + 1/2) log n - n + log(2π) / 2, for n >= 1."""
    few, many = n.clamp_max(MANY), n.clamp_min(MANY)
    exact = (few + 1).lgamma() - (few + 0.5) * few.log() + few - HALF_LOG_2PI
    w = many**-2
    series = (1 / 12 - w * (1 / 360 - w * (1 / 1260 - w * (1 / 1680 - w / 1188)))) / many
    return torch.where(n < MANY, exact, series)


def student_t_log_prob(z: Tensor, freedom: Tensor) -> Tensor:
    """log p of a standard Student's t at z.

    Its normaliser is a ratio of gamma functions that are alike, by their asymptotic series where they are large.
    """
    z, freedom = torch.broadcast_tensors(z, freedom)
    return _log_gamma_ratio(freedom / 2) - HALF_LOG_2PI - _tail(z * z, freedom)


class _Tail(Function):
    """(ν + 1) / 2 · log(1 + z² / ν); autograd's slope in ν is a difference of terms that are nearly equal."""

    generate_vmap_rule = True

    @staticmethod
    def forward(square: Tensor, freedom: Tensor) -> Tensor:
        return (freedom + 1) / 2 * (square / freedom).log1p()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        keep(ctx, *inputs)

    @staticmethod
    def slopes(square: Tensor, freedom: Tensor) -> tuple[Tensor, Tensor]:
        t = square / freedom
        share = t / (1 + t)
        small = log1p_less(t.clamp_max(1.0)) + t.clamp_max(1.0) * share
        of_freedom = torch.where(t < 1, small, t.log1p() - share) - share / freedom
        return (freedom + 1) / (freedom + square) / 2, of_freedom / 2

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor]:  # pyrefly: ignore[bad-override]
        of_square, of_freedom = _Tail.slopes(*ctx.saved_tensors)
        return slope * of_square, slope * of_freedom

    @staticmethod
    def along(ctx: Any, square: Tensor, freedom: Tensor) -> Tensor:  # pyrefly: ignore[bad-override]
        of_square, of_freedom = _Tail.slopes(*ctx.saved_tensors)
        return square * of_square + freedom * of_freedom


_tail = both_ways(_Tail)


class _LogGammaRatio(Function):
    """log Γ(a + 1/2) - log Γ(a) - log(a) / 2, for a >= 1."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor) -> Tensor:
        def exact(few: Tensor) -> Tensor:
            return (few + 0.5).lgamma() - few.lgamma() - few.log() / 2

        return _by_size(a, exact, (-1 / 8, 1 / 192, -1 / 640, 17 / 14336, -31 / 18432))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        keep(ctx, *inputs)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:  # pyrefly: ignore[bad-override]
        (a,) = ctx.saved_tensors

        def exact(few: Tensor) -> Tensor:
            return (few + 0.5).digamma() - few.digamma() - 0.5 / few

        return slope * _by_size(a, exact, (1 / 8, -3 / 192, 5 / 640, -7 * 17 / 14336, 9 * 31 / 18432), more=1)

    # of one number alike in both directions
    along = backward


_log_gamma_ratio = both_ways(_LogGammaRatio)


def _by_size(a: Tensor, exact: Callable[[Tensor], Tensor], series: tuple[float, ...], more: int = 0) -> Tensor:
    """A function where a is small, and Σ c_i / a^(2 i + 1 + more) where it is large."""
    many, total = a.clamp_min(MANY), torch.zeros_like(a)
    for coefficient in reversed(series):
        total = total / many**2 + coefficient
    return torch.where(a < MANY, exact(a.clamp_max(MANY)), total / many ** (1 + more))


def log1p_less(t: Tensor) -> Tensor:
    """log(1 + t) - t, for t > -1: by log(1 + t) = 2 artanh(r), r = t / (2 + t), where t is near 0."""
    near = (t > NEAR[0]) & (t < NEAR[1])
    small = torch.where(near, t, 0.0)
    r = small / (2 + small)
    w, total = r * r, torch.zeros_like(t)
    for i in reversed(range(10)):
        total = total * w + 1 / (2 * i + 3)
    return torch.where(near, 2 * r * w * total - small * r, t.log1p() - t)
