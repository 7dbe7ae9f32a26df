"""The recommendation: one estimator and the reason, from the rows of an audit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gatewise.auditing.row import Row
from gatewise.errors import GatewiseError
from gatewise.estimators import Enumeration, setting_text

EXACT = 1e-9
"""Relative mean squared error below which an estimator is the exact gradient, but for rounding."""
CLOSE = 1.02
"""Errors within this factor count as equal."""


@dataclass(frozen=True)
class Recommendation:
    """An estimator at one setting; None where there is no estimator to use.

    Attributes:
        estimator: its name.
        num_samples: S.
        options: temperature included.
        reason: one sentence, which begins with the estimator.
        row: where it stands in the audit's rows.
    """

    estimator: str | None
    num_samples: int | None
    options: dict[str, Any]
    reason: str
    row: int | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        kept = ("estimator", "num_samples", "options", "reason")
        return {name: getattr(self, name) for name in kept}


@dataclass(frozen=True)
class _Measure:
    """By which error settings are compared: of one estimate as it is, or at its best step length."""

    noisy: bool

    def __call__(self, row: Row) -> float:
        return row.relative_mse_rescaled if self.noisy else row.relative_mse

    def half_width(self, row: Row) -> float:
        """Of its 95 % interval."""
        if self.noisy:
            value = row.relative_mse_rescaled
            return max(value - row.relative_mse_rescaled_low, row.relative_mse_rescaled_high - value)
        return row.relative_mse_high - row.relative_mse

    def has(self, row: Row) -> str:
        """For a sentence. At its best step length one estimate may gain very little: it is what is said."""
        return f"removes {1 - self(row):.3g}" if self.noisy else f"has {self(row):.3g}"

    def least(self, rows: Sequence[Row]) -> Row:
        """The least error, and the preferred of those as good."""
        least = min(self(row) for row in rows)
        enough = max(least if self.noisy else least * CLOSE, EXACT)
        return min((row for row in rows if self(row) <= enough), key=_preference)


@dataclass(frozen=True)
class _Difference:
    """How much less the error of a biased setting is than that of the best without bias."""

    biased: Row
    unbiased: Row
    error: float
    half: float
    equal: float

    @property
    def told(self) -> bool:
        """It is more than noise."""
        return self.error > self.half

    @property
    def worth(self) -> bool:
        """It is more than noise, and than what counts as equal."""
        return self.error > max(self.half, self.equal)


def recommend(rows: Sequence[Row], most: int, num_categories: int, mixture: bool) -> Recommendation:
    """The least mean squared error among the settings that evaluate at most `most` of the categories an example.

    Where every single estimate is further from the gradient than 0 is, the least error would be that of the shortest
    estimates and not of the best: there the error at each one's best step length decides. Where the best has a bias
    and the best without is as good, as far as the audit can tell, it is the latter.

    Raises:
        GatewiseError: if none keeps to the limit.
    """
    check_reachable([row.evaluations_at_most for row in rows], most)
    what = "experts" if mixture else "categories"
    one = "expert" if mixture else "category"
    among = f"of the settings that run at most {most} {one if most == 1 else what}"
    allowed = [row for row in rows if row.evaluations_at_most <= most and row.usable]
    if not allowed:
        reason = f"none {among} gives a gradient to follow here: on average it is 0, points away, or cannot be told"
        return Recommendation(None, None, {}, reason, None)
    measure = _Measure(noisy=min(row.relative_mse for row in allowed) >= 1)
    best = measure.least(allowed)
    difference = None
    honest = [row for row in allowed if row.trusted]
    others = [row for row in allowed if not row.trusted]
    if best.relative_mse > EXACT and honest and others:
        difference = _difference(measure.least(others), measure.least(honest), measure)
        best = difference.biased if difference.worth else difference.unbiased
        difference = difference if difference.error > 0 else None
    if best.relative_mse <= EXACT:
        why = _exact(best, num_categories, mixture, what)
    else:
        next_best = _compared(difference, measure) if difference else _next(best, allowed, measure)
        why = f"{among} {_least(best, measure, difference)}{next_best}"
    reason = f"{named(best)}: {why}"
    return Recommendation(best.estimator, best.num_samples, best.options, reason, list(rows).index(best))


def check_reachable(evaluations: Sequence[int], most: int) -> None:
    """Refuse a limit that no setting keeps to.

    Raises:
        GatewiseError: saying which would do.
    """
    if min(evaluations) > most:
        raise GatewiseError(
            f"none of the estimators audited evaluates at most {most}; raise max_evaluations to {min(evaluations)}, or "
            "audit one that draws, such as 'score-function'"
        )


def by_evaluations(rows: Sequence[Row], num_categories: int, mixture: bool) -> list[tuple[int, Recommendation]]:
    """The recommendation for every number of evaluations at which it changes, from the fewest that any row needs."""
    counts = sorted({row.evaluations_at_most for row in rows})
    found: list[tuple[int, Recommendation]] = []
    for most in counts:
        best = recommend(rows, most, num_categories, mixture)
        if best.row is not None and (not found or best.row != found[-1][1].row):
            found.append((most, best))
    return found


def order(rows: Sequence[Row], most: int) -> list[int]:
    """The rows as a person is to read them: those to use first, each kind by its error at equal evaluations.

    Those that run at most `most` categories, then those that run more, then those whose gradient is none to follow.
    """

    def key(place: int) -> tuple[Any, ...]:
        row = rows[place]
        # what is exact but for rounding is equally so
        errors = (max(row.relative_mse_equal_evaluations, EXACT), max(row.relative_mse, EXACT))
        return not row.usable, row.evaluations_at_most > most, *errors, _preference(row)

    return sorted(range(len(rows)), key=key)


def _difference(biased: Row, unbiased: Row, measure: _Measure) -> _Difference:
    half = math.hypot(measure.half_width(biased), measure.half_width(unbiased))
    equal = 0.0 if measure.noisy else (CLOSE - 1) * measure(biased)
    return _Difference(biased, unbiased, measure(unbiased) - measure(biased), half, equal)


def _preference(row: Row) -> tuple[bool, bool, float]:
    """Among equals: the sum itself, then what is unbiased on any data, then the fastest."""
    return row.estimator != Enumeration.name, not row.trusted, row.seconds


def _exact(best: Row, num_categories: int, mixture: bool, what: str) -> str:
    all_of_them = f"all {num_categories} {what}"
    if best.evaluations_at_most < num_categories:
        return f"on these rows it is the exact gradient, with at most {best.evaluations_at_most} {what} run an example"
    if best.estimator != Enumeration.name:
        return f"it is the exact gradient here, without bias or variance, as enumeration of {all_of_them} is anywhere"
    if not mixture:
        return (
            f"once f is known at {all_of_them} the sum over them is the exact gradient, without bias or variance, and "
            "an estimator that asks f for a point between them costs no less"
        )
    return (
        f"once {all_of_them} have run nothing beats the exact sum Σ_z p(z|x) log p(y|z,x): no bias, no variance, "
        "and no temperature; a relaxation gives away exactness for nothing here"
    )


def _least(best: Row, measure: _Measure, difference: _Difference | None) -> str:
    """What speaks for it, of the settings allowed."""
    bias = (
        f"a bias of {best.relative_bias:.0%} of the gradient's length (cosine {best.cosine:.3f})"
        if best.biased
        else f"no bias found (below {best.relative_bias_high:.1%})"
        if best.unbiased
        else f"a bias that cannot be told from none (below {best.relative_bias_high:.1%})"
    )
    tied = difference is not None and best is difference.unbiased
    if not measure.noisy:
        has = "none has an error that is less beyond doubt:" if tied else "it has the least error,"
        return f"{has} a mean square of {best.relative_mse:.3g} times the gradient's own, with {bias}"
    removes = "none removes more beyond doubt" if tied else "it removes most"
    return (
        "none is nearer to the gradient in one estimate than 0 is, so batches and steps must average; at its best step "
        f"length {removes}: {1 - measure(best):.3g} of the gradient's square, with {bias}"
    )


def _next(best: Row, allowed: Sequence[Row], measure: _Measure) -> str:
    """The best of another estimator, where there is one that is not biased."""
    others = [row for row in allowed if row.estimator != best.estimator and (row.unbiased or not row.biased)]
    if not others:
        return ""
    other = min(others, key=measure)
    return f"; the next estimator, {named(other)}, {measure.has(other)}"


def _compared(difference: _Difference, measure: _Measure) -> str:
    """What a bias is worth."""
    biased, other = difference.biased, difference.unbiased
    low, high = difference.error - difference.half, difference.error + difference.half
    by = f"{difference.error:.3g} {{}} ({low:.3g} to {high:.3g})"
    if not difference.worth:
        nothing = "" if difference.told else ", which this audit cannot tell from nothing"
        how = f"a bias of {biased.relative_bias:.0%}" if biased.biased else "a bias by its nature"
        return (
            f"; {named(biased)}, with {how}, {measure.has(biased)}, "
            f"{by.format('more' if measure.noisy else 'less')}{nothing}; a bias does not average out"
        )
    many = (other.relative_std**2 - biased.relative_std**2) / max(biased.relative_bias**2, EXACT)
    averaged = (
        f"; in the mean of more than {many:,.0f} estimates it is the nearer" if biased.biased and many > 1 else ""
    )
    return (
        f"; the best without bias, {named(other)}, {measure.has(other)}, "
        f"{by.format('less' if measure.noisy else 'more')}{averaged}"
    )


def named(row: Row) -> str:
    """An estimator with what sets it apart, for a sentence and as the command line takes it."""
    return setting_text(row.estimator, row.options, row.num_samples)
