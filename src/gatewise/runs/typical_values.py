"""The values of a table that stand out among an expert's rows: means of numbers, shares of categories."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from gatewise.data import Records
from gatewise.data.dates import moment_of, year_or_hour
from gatewise.data.preprocessing.coding import NO_VALUE, plain_feature

MOST_VALUES = 5
"""Of each expert."""
ENOUGH = 0.1
"""Standard deviations from the mean of all rows; what lies nearer does not stand out."""
FEWEST_ROWS = 10
"""A category with fewer rows is chance, and might name a person."""
MOST_LEVELS = 50
"""Categories of a column that are looked at, the most frequent ones."""


@dataclass(frozen=True)
class Feature:
    """A number of each row, or whether it has a category (1 or 0); NaN where it is missing.

    Attributes:
        column: its name.
        value: the category; None for a number.
        numbers: `[N]`.
    """

    column: str
    value: str | None
    numbers: np.ndarray


def standing_out(records: Records, gate: np.ndarray) -> list[list[dict[str, Any]]]:
    """For each expert the features whose mean, weighted by its p(z|x), is farthest from that of all rows.

    Args:
        records: a table, or an array `[N, D]` whose columns have numbers for names; others have no features.
        gate: p(z|x) of E experts, `[N, E]`.

    Returns:
        E lists, the farthest first, of "column", "value" (the category, or None), "mean" among the expert's rows,
        "overall" among all, and "deviations": their difference in standard deviations of all rows. Means of a
        category are shares; it is listed only where its share is larger.
    """
    found: list[list[dict[str, Any]]] = [[] for _ in range(gate.shape[1])]
    for feature in _features(records):
        known = np.isfinite(feature.numbers)
        numbers, weights = (feature.numbers, gate) if known.all() else (feature.numbers[known], gate[known])
        spread = numbers.std() if len(numbers) else 0.0
        if not spread > 0:
            continue
        overall, totals = numbers.mean(), weights.sum(0)
        means = np.divide(numbers @ weights, totals, out=np.full(len(totals), overall), where=totals > 0)
        deviations = (means - overall) / spread
        for expert, (mean, far) in enumerate(zip(means, deviations, strict=True)):
            if (far if feature.value is not None else abs(far)) >= ENOUGH:
                told = {"mean": float(mean), "overall": float(overall), "deviations": float(far)}
                found[expert].append({"column": feature.column, "value": feature.value, **told})
    return [_farthest(values) for values in found]


def _farthest(values: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(values, key=lambda value: -abs(value["deviations"]))[:MOST_VALUES]


def _features(records: Records) -> Iterable[Feature]:
    if not isinstance(records.features, pl.DataFrame):
        if records.features.ndim == 2:
            for place, numbers in enumerate(records.features.T):
                yield Feature(f"column {place}", None, numbers.astype(np.float64))
        return
    for series in records.features.iter_columns():
        column = plain_feature(series, records)
        if moment_of(column.dtype) is not None:
            yield Feature(series.name, None, year_or_hour(column))
        elif column.dtype == pl.String:
            yield from _categories(column)
        else:
            yield Feature(series.name, None, column.fill_null(float("nan")).to_numpy().astype(np.float64))


def _categories(column: pl.Series) -> Iterable[Feature]:
    """The categories of a column of text with rows enough, each as whether a row has it."""
    filled = column.fill_null(NO_VALUE).alias("value")
    counts = filled.value_counts().filter(pl.col("count") >= FEWEST_ROWS)
    for value in counts.sort(["count", "value"], descending=[True, False]).head(MOST_LEVELS)["value"]:
        yield Feature(column.name, value, (filled == value).to_numpy().astype(np.float64))
