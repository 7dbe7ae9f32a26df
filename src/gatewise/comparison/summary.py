"""The summary in `comparison.json`: each cell, and each combination over its seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scipy.special import stdtrit

from gatewise.comparison.cells import FIGURES, Cell
from gatewise.comparison.combinations import Combination
from gatewise.config.objective import samples_of

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: its run's summary, or the reason for which there is none.

    `before`: it was there already, and was not trained this time.
    """

    cell: Cell
    summary: dict[str, Any] | None
    reason: str | None = None
    before: bool = False

    def figures(self, part: str) -> dict[str, float]:
        """The measures on one part of the data; only where there is a summary."""
        return (self.summary or {})[part]


def tabulate(combinations: Sequence[Combination], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The data, the combinations (best first), and the cells, as JSON takes them.

    The order is that of the mean test NLL, or of the validation NLL where no test rows were kept: `judged` says which.
    `difference` is that of a combination's NLL and the best one's, seed by seed: the seeds share split and weights.
    """
    done = [outcome for outcome in outcomes if outcome.summary is not None]
    judged = "test" if done and all((outcome.summary or {})["test"] for outcome in done) else "validation"
    of = {combination.name: [o for o in done if o.cell.combination is combination] for combination in combinations}
    asked = len({outcome.cell.seed for outcome in outcomes})
    rows = [_row(combination, of[combination.name], judged, asked) for combination in combinations]
    rows.sort(key=lambda row: _rank(row, judged))
    for row in rows[1:]:
        row["difference"] = _difference(of[row["name"]], of[rows[0]["name"]], judged)
    return {
        "judged": judged,
        "data": _data(done),
        "combinations": rows,
        "cells": [_cell(outcome) for outcome in outcomes],
    }


def _rank(row: dict[str, Any], judged: str) -> tuple[bool, float]:
    """Where a combination stands: by its NLL, and last without a finite one."""
    nll = row[judged]["nll"]["mean"] if row[judged] else math.inf
    return (True, 0.0) if not math.isfinite(nll) else (False, nll)


def _row(combination: Combination, done: list[Outcome], judged: str, asked: int) -> dict[str, Any]:
    summaries = [outcome.summary for outcome in done if outcome.summary is not None]
    evaluations = max((summary["model"]["evaluations"] for summary in summaries), default=None)
    return {
        "name": combination.name,
        "objective": combination.objective,
        "estimator": combination.estimator,
        "options": dict(combination.options),
        "samples": samples_of(combination.config),
        "experts": combination.config.num_experts,
        "evaluations": evaluations,
        "seeds_done": len(done),
        "seeds_failed": asked - len(done),
        "validation": _means(done, "validation"),
        "test": _means(done, "test") if judged == "test" else None,
        "epochs": mean_interval([summary["epochs"] for summary in summaries])["mean"] if summaries else None,
        "seconds": mean_interval([summary["seconds"] for summary in summaries])["mean"] if summaries else None,
        "difference": None,
    }


def _means(done: list[Outcome], part: str) -> dict[str, Any] | None:
    if not done:
        return None
    return {name: mean_interval([outcome.figures(part)[name] for outcome in done]) for name in FIGURES}


def _difference(mine: list[Outcome], best: list[Outcome], judged: str) -> dict[str, Any] | None:
    """How much more nats than the best, over the seeds that both have; None without one."""
    against = {outcome.cell.seed: outcome.figures(judged)["nll"] for outcome in best}
    pairs = [(outcome.figures(judged)["nll"], outcome.cell.seed) for outcome in mine if outcome.cell.seed in against]
    if not pairs:
        return None
    return {**mean_interval([nll - against[seed] for nll, seed in pairs]), "seeds": len(pairs)}


def _cell(outcome: Outcome) -> dict[str, Any]:
    cell, summary = outcome.cell, outcome.summary or {}
    epochs, best = summary.get("epochs"), summary.get("best_epoch")
    return {
        "combination": cell.combination.name,
        "seed": cell.seed,
        "folder": f"cells/{cell.path.name}",
        "status": "done" if outcome.summary else "failed",
        "reason": outcome.reason,
        "trained_before": outcome.before,
        "gatewise": summary.get("gatewise"),
        "epochs": epochs,
        "best_epoch": best,
        "still_improving": None if epochs is None else best == epochs,
        "seconds": summary.get("seconds"),
        "validation": summary.get("validation"),
        "test": summary.get("test"),
        "warnings": summary.get("warnings", []),
    }


def _data(done: list[Outcome]) -> dict[str, Any] | None:
    """What is the same in every cell; None where no cell is done."""
    if not done or done[0].summary is None:
        return None
    told = done[0].summary["data"]
    keys = ("name", "target", "rows", "train_rows", "validation_rows", "test_rows", "columns", "classes", "hash")
    return {key: told.get(key) for key in keys}


def mean_interval(values: Sequence[float]) -> dict[str, float | None]:
    """The mean, and the ends of its 95 % t interval: mean ± t(n-1) s / √n; None for the ends of a single number.

    Args:
        values: at least one number.
    """
    count = len(values)
    mean = math.fsum(values) / count
    if count == 1:
        return {"mean": mean, "low": None, "high": None}
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2)) * math.sqrt(variance / count)
    return {"mean": mean, "low": mean - half, "high": mean + half}
