"""How far a classifier's probabilities can be trusted: calibration by a temperature, and leaving doubtful rows out."""

from gatewise.reporting.html.blocks import Block, Row, Stack, Table
from gatewise.reporting.plots.bars import reliability_diagram
from gatewise.reporting.schemas.details import Calibration, Kept, Tempered
from gatewise.reporting.schemas.run import Summary
from gatewise.wording import count, number, percent


def trust(summary: Summary) -> list[Block]:
    """The reliability after calibration where it changes anything, and the tables; nothing for older runs."""
    found, kept = summary.calibration, summary.details.selective if summary.details else []
    tables = [*([] if found is None else [_calibration(found)]), *([_coverage(kept)] if kept else [])]
    after = None if found is None or found.mixture.temperature == 1.0 else found.mixture.reliability
    drawn = [] if after is None else [reliability_diagram(after, "calibrated")]
    return [*drawn, *([Stack(tables)] if tables else [])]


def _calibration(found: Calibration) -> Table:
    rows = [*_route("mixture", found.mixture), *_route("top-1", found.top1)]
    fitted = f"Temperature fitted on {count(found.fitted_on, 'validation row')}; for predict and evaluate --calibrated"
    return Table(fitted, ["", "before", "after"], rows)


def _route(name: str, found: Tempered) -> list[Row]:
    before, after = found.before, found.after
    note = f"temperature {number(found.temperature)}"
    if found.temperature == 1.0:
        note += ": the validation rows gain nothing by another"
    return [
        Row(f"ECE, {name}", [number(before.ece), number(after.ece)], note),
        Row(f"Brier score, {name}", [number(before.brier), number(after.brier)]),
        Row(f"NLL, {name}", [number(before.nll), number(after.nll)]),
    ]


def _coverage(kept: list[Kept]) -> Table:
    rows = [
        Row(percent(each.kept), [percent(each.accuracy), number(each.abstain_above, 4)], _asked(each)) for each in kept
    ]
    return Table("If it abstains where it is least sure", ["rows kept", "accuracy", "threshold, nats"], rows)


def _asked(kept: Kept) -> str:
    return "" if kept.coverage is None or kept.kept is None else f"at least {percent(kept.coverage)}"
