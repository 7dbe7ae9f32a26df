"""Statistics of repeated gradient estimates: bias, scale, cosine and error, with intervals.

ĝ_r, r = 1..R, are independent estimates of a gradient g, all vectors of D numbers; b = E ĝ - g, Σ = Cov ĝ.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

BIAS_COVERAGE = 0.95
"""Coverage of the intervals."""
BIASED_LEVEL = 0.99
"""An estimator is called biased where this one-sided lower limit of ‖b‖ lies above 0."""
NORMAL_95 = 1.96
"""Standard deviations of a normal variable to either side that hold 95 % of it."""
NORMAL = 1e4
"""Beyond this noncentrality a χ² and a gamma distribution of the same variance are as good as normal."""
MORE = 2
"""Repetitions like the largest that `cautious` adds."""
FEWEST = 128
"""Fewer repetitions than this and the intervals do not hold what they promise."""


@dataclass(frozen=True)
class Moments:
    """Sums over repetitions, relative to the exact gradient: every length is in units of ‖g‖.

    Attributes:
        repetitions: R.
        deviation: ‖ḡ - g‖².
        along: ⟨ḡ, g⟩ - 1.
        along_variance: gᵀΣg.
        trace: tr Σ.
        trace_squared: tr Σ².
        largest: λ_max(Σ).
        square_error: E ‖ĝ - g‖².
        spread: tr Cov ĝ. It is tr Σ unless the sample was weighed: Σ is then of weight times ĝ.
        longest: the largest ‖ĝ_r - ḡ‖².
        error_variance: Var of what the mean of is `square_error`.
        error_along: its covariance with what the mean of is `along`.
    """

    repetitions: int
    deviation: float
    along: float
    along_variance: float
    trace: float
    trace_squared: float
    largest: float
    square_error: float
    spread: float = 0.0
    longest: float = 0.0
    error_variance: float = 0.0
    error_along: float = 0.0


def moments(away: Tensor, direction: Tensor, squares: Tensor | None = None) -> Moments:
    """Moments of the deviations ĝ - g, in units of ‖g‖; R·D·min(R, D) operations.

    Args:
        away: `[R, D]`, R >= 4, in float64; is overwritten. Of a sample that was weighed, weight times deviation.
        direction: g/‖g‖, `[D]`.
        squares: `[R]`, with the mean E ‖ĝ - g‖², of a sample that was weighed; None for that of `away`.
    """
    count, size = away.shape
    mean = away.mean(0)
    squares = away.square().sum(1) if squares is None else squares
    square_error = float(squares.mean())
    centred = away.sub_(mean)  # in place: for a gate of many parameters this is most of the memory
    gram = centred @ centred.T if count <= size else centred.T @ centred
    lengths = centred.square().sum(1)
    trace = lengths.sum() / (count - 1)
    sample = gram.square().sum() / (count - 1) ** 2
    fourth = lengths.square().sum() / (count - 1)
    trace_squared = unbiased_trace_squared(count, sample, trace, fourth)
    projected = centred @ direction
    deviation = float(mean.square().sum())
    return Moments(
        repetitions=count,
        deviation=deviation,
        along=float(mean @ direction),
        along_variance=float(projected.square().sum() / (count - 1)),
        trace=float(trace),
        trace_squared=float(torch.maximum(trace_squared, trace**2 / size)),  # never below what any spectrum has
        largest=float(torch.linalg.eigvalsh(gram)[-1].clamp_min(0) / (count - 1)),
        square_error=square_error,
        spread=max(0.0, square_error - deviation + float(trace) / count),
        longest=float(lengths.amax()),
        error_variance=float(squares.var()),
        error_along=float((squares - square_error) @ projected / (count - 1)),
    )


def with_more(m: Moments, variance: float) -> Moments:
    """With noise that the sample does not show, of one direction, whichever it be."""
    return replace(
        widened(m, variance),
        square_error=m.square_error + variance,
        spread=m.spread + variance,
    )


def cautious(m: Moments) -> Moments:
    """With the noise of `MORE` more repetitions like the largest, for intervals where few large ones make the mean.

    Of n like these the sample shows a variance of about n, which is what their number varies by; but where that came
    out low the variance did too, and for n = 0 it is none at all (Agresti and Coull 1998, of binomials).
    """
    return widened(m, MORE * m.longest / m.repetitions)


def widened(m: Moments, variance: float) -> Moments:
    """With more noise of the mean, and the estimates as they are."""
    return replace(
        m,
        along_variance=m.along_variance + variance,
        trace=m.trace + variance,
        trace_squared=m.trace_squared + 2 * variance * m.largest + variance**2,
        largest=m.largest + variance,
    )


def unbiased_trace_squared(count: int, sample: Tensor, trace: Tensor, fourth: Tensor) -> Tensor:
    """tr Σ² without bias and without normality: tr Σ̂² is too large by about (tr Σ)²/R, most of it where D > R.

    Args:
        count: R, at least 4.
        sample: tr Σ̂².
        trace: tr Σ̂.
        fourth: Σ_r ‖x_r - x̄‖⁴/(R - 1).

    Reference: Himeno and Yamada 2014.
    """
    # in floating point, for the products overflow integers where R is in the millions
    n = float(count)
    return (n - 1) * ((n - 1) * (n - 2) * sample + trace**2 - n * fourth) / (n * (n - 2) * (n - 3))


def bias(m: Moments) -> float:
    """‖b‖/‖g‖: the root of the unbiased estimate ‖ḡ - g‖² - tr Σ/R of its square, 0 where that is negative."""
    return math.sqrt(max(0.0, m.deviation - m.trace / m.repetitions))


def bias_interval(m: Moments, coverage: float = BIAS_COVERAGE) -> tuple[float, float]:
    """An interval for ‖b‖/‖g‖: all δ under which ‖ḡ - g‖² would not be surprising."""
    tail = (1 - coverage) / 2
    return bias_limit(m, 1 - tail), bias_limit(m, tail)


def bias_limit(m: Moments, probability: float) -> float:
    """The δ at which ‖ḡ - g‖² is the quantile of its distribution at `probability`; 0 where it is already below at 0.

    ‖ḡ - g‖² has the mean δ² + tr Σ/R and, at most, the variance 2 tr Σ²/R² + 4 δ² λ_max/R. Of two distributions the
    one that makes the interval wider is taken: the gamma distribution with these, and a multiple of the noncentral χ²
    that is exact for noise of one direction, bias along it, and for noise of equal size in all. At δ = 0 they are the
    same. (A normal one would call 3 % of the unbiased estimators biased whose noise has one direction, and not 1 %.)
    """
    wider = max if probability > 0.5 else min

    def quantile(delta: float) -> float:
        mean = delta**2 + m.trace / m.repetitions
        variance = 2 * m.trace_squared / m.repetitions**2 + 4 * delta**2 * m.largest / m.repetitions
        return wider(_gamma_quantile(mean, variance, probability), _chi_square_quantile(m, delta, probability))

    if m.trace == 0:
        return math.sqrt(m.deviation)
    # a mean that lies nearer than its own noise is by chance, and no evidence that the bias is smaller than can be seen
    level = m.deviation if probability > 0.5 else max(m.deviation, m.trace / m.repetitions)
    return _first_at_least(quantile, level, guess=math.sqrt(m.deviation + m.trace / m.repetitions))


def scale_interval(m: Moments, coverage: float = BIAS_COVERAGE) -> tuple[float, float]:
    """An interval for ⟨E ĝ, g⟩/‖g‖² - 1, by Student's t."""
    from scipy.special import stdtrit

    half = float(stdtrit(m.repetitions - 1, (1 + coverage) / 2)) * math.sqrt(m.along_variance / m.repetitions)
    return m.along - half, m.along + half


def cosine(m: Moments) -> float:
    """The cosine of E ĝ and g, with the noise of ‖ḡ‖ taken off."""
    along = 1 + m.along
    across = max(0.0, m.deviation - m.along**2 - (m.trace - m.along_variance) / m.repetitions)
    length = math.sqrt(along**2 + across)
    return along / length if length else 0.0


def rescaled_error(m: Moments) -> float:
    """min over factors c >= 0 of E ‖c ĝ - g‖²/‖g‖²: 1 - ⟨E ĝ, g⟩²/(‖g‖² E ‖ĝ‖²); 1 where ĝ points away on average."""
    along = max(0.0, 1 + m.along)
    length = m.square_error + 2 * m.along + 1
    return 1 - min(1.0, along**2 / length) if length > 0 else 1.0


def error_half_width(m: Moments) -> float:
    """Of the 95 % interval for E ‖ĝ - g‖²."""
    return NORMAL_95 * math.sqrt(m.error_variance / m.repetitions)


def rescaled_half_width(m: Moments) -> float:
    """Of the 95 % interval for `rescaled_error`, by its slopes in the two means that it is made of."""
    along = 1 + m.along
    length = m.square_error + 2 * m.along + 1
    if along <= 0 or length <= 0:
        return NORMAL_95 * m.along_variance / m.repetitions
    by_error = (along / length) ** 2
    by_along = 2 * by_error - 2 * along / length
    variance = by_error**2 * m.error_variance + 2 * by_error * by_along * m.error_along
    variance += by_along**2 * m.along_variance
    return NORMAL_95 * math.sqrt(max(0.0, variance) / m.repetitions)


def repetitions_needed(pilot: Moments, precision: float) -> float:
    """How many repetitions bring the intervals of an unbiased estimator to a half width of `precision`, by a pilot.

    That of ‖b‖ ends at √(z √(2 tr Σ²)/R) where b is 0; that of the scale has the half width z √(gᵀΣg/R).
    """
    for_bias = NORMAL_95 * math.sqrt(2 * pilot.trace_squared) / precision**2
    for_scale = (NORMAL_95 / precision) ** 2 * pilot.along_variance
    return max(for_bias, for_scale)


def _gamma_quantile(mean: float, variance: float, probability: float) -> float:
    from scipy.special import gammaincinv

    shape = mean**2 / variance
    return float(gammaincinv(shape, probability)) * variance / mean


def _chi_square_quantile(m: Moments, delta: float, probability: float) -> float:
    """Of a χ²_ν(δ²/a), a = tr Σ²/(R tr Σ) and ν = (tr Σ)²/tr Σ²: with the mean and, at δ = 0, the variance above."""
    from scipy.special import chndtrix

    unit = m.trace_squared / (m.trace * m.repetitions)
    degrees, noncentrality = m.trace**2 / m.trace_squared, delta**2 / unit
    if noncentrality > NORMAL:
        return _gamma_quantile(
            delta**2 + m.trace / m.repetitions, 2 * unit**2 * (degrees + 2 * noncentrality), probability
        )
    return unit * float(chndtrix(probability, degrees, noncentrality))


def _first_at_least(increasing: Callable[[float], float], level: float, guess: float) -> float:
    """The smallest x >= 0 with increasing(x) >= level, to 40 halvings of what brackets it."""
    if increasing(0.0) >= level:
        return 0.0
    low, high = 0.0, guess
    while increasing(high) < level:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if increasing(middle) < level else (low, middle)
    return high
