"""Which estimator to use, and why, from the rows of an audit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gatewise.diagnostics.auditing.row import Row
from gatewise.errors import GatewiseError
from gatewise.estimators import Enumeration

EXACT = 1e-9
"""Relative mean squared error below which an estimator is the exact gradient, but for rounding."""
CLOSE = 1.02
"""Errors within this factor count as equal."""


@dataclass(frozen=True)
class Recommendation:
    """An estimator at one setting.

    Attributes:
        estimator: its name.
        num_samples: S.
        options: temperature included.
        reason: one sentence.
        row: where it stands in the audit's rows.
    """

    estimator: str
    num_samples: int
    options: dict[str, Any]
    reason: str
    row: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        kept = ("estimator", "num_samples", "options", "reason")
        return {name: getattr(self, name) for name in kept}


def recommend(rows: Sequence[Row], most: int, num_categories: int, mixture: bool) -> Recommendation:
    """The least mean squared error among the settings that evaluate at most `most` of the categories an example.

    Where every single estimate is further from the gradient than 0 is, the least error would be that of the shortest
    estimates and not of the best: there the error at each one's best step length decides.

    Raises:
        GatewiseError: if there is none.
    """
    check_reachable([row.evaluations_at_most for row in rows], most)
    allowed = [row for row in rows if row.evaluations_at_most <= most]
    noisy = min(row.relative_mse for row in allowed) >= 1
    by = _rescaled if noisy else _plain
    allowed.sort(key=by)
    enough = max(by(allowed[0]) if noisy else by(allowed[0]) * CLOSE, EXACT)
    best = min((row for row in allowed if by(row) <= enough), key=_preference)
    what = "experts" if mixture else "categories"
    if best.relative_mse <= EXACT:
        reason = _exact(best, num_categories, mixture, what)
    else:
        others = [row for row in allowed if row.estimator != best.estimator and (row.unbiased or not best.biased)]
        reason = _least(best, others, f"of the settings that run at most {most} {what}", noisy)
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
        if not found or best.row != found[-1][1].row:
            found.append((most, best))
    return found


def _preference(row: Row) -> tuple[bool, bool, float]:
    """Among equals: the sum itself, then what is unbiased on any data, then the fastest."""
    return row.estimator != Enumeration.name, not row.unbiased, row.seconds


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


def _least(best: Row, others: list[Row], among: str, noisy: bool) -> str:
    bias = (
        f"a bias of {best.relative_bias:.0%} of the gradient's length (cosine {best.cosine:.3f})"
        if best.biased
        else f"no bias found (below {best.relative_bias_high:.1%})"
        if best.unbiased
        else f"a bias that cannot be told from none (below {best.relative_bias_high:.1%})"
    )
    which = "the best without bias" if best.biased else "the next estimator"
    if not noisy:
        next_best = f"; {which}, {named(others[0])}, has {others[0].relative_mse:.3g}" if others else ""
        error = f"a mean square of {best.relative_mse:.3g} times the gradient's own"
        return f"{among} it has the least error, {error}, with {bias}{next_best}"
    next_best = f"; {which}, {named(others[0])}, leaves {_rescaled(others[0]):.3f}" if others else ""
    return (
        f"{among} none is nearer to the gradient in one estimate than 0 is, so batches and steps must average; at its "
        f"best step length it leaves the least error, {_rescaled(best):.3f} of the gradient's square, with {bias}"
        f"{next_best}"
    )


def _plain(row: Row) -> float:
    return row.relative_mse


def _rescaled(row: Row) -> float:
    return row.relative_mse_rescaled


def named(row: Row) -> str:
    """An estimator with what sets it apart, for a sentence."""
    parts = [f"{row.num_samples} samples"] if row.num_samples > 1 else []
    parts += [f"λ = {row.temperature:g}"] if row.temperature is not None else []
    return f"{row.label} ({', '.join(parts)})" if parts else row.label
