"""Statistics of a table's columns by one pass over its rows, in memory that rows do not add to."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from gatewise.data.dates import DatePart, moment_of, parts_of
from gatewise.data.preprocessing.coding import level_counts, marks_rows, plain_features
from gatewise.data.records import Records


class ColumnMoments:
    """Of each column of arrays `[N, D]` that are added one after the other, or of arrays `[N]`; NaN is missing.

    Two parts are put together by the differences of their means (Chan, Golub and LeVeque 1983), so that numbers far
    from 0 lose no digits.

    Attributes:
        count: of the numbers that are there, `[D]` or `[]`.
        mean: of them.
        squares: the sum of squared deviations from the mean.
    """

    def __init__(self):
        self.count: Any = 0
        self.mean: Any = 0.0
        self.squares: Any = 0.0

    def add(self, x: np.ndarray) -> None:
        """Take in float64 `[N, D]` or `[N]`."""
        count = np.asarray((~np.isnan(x)).sum(axis=0))
        mean = np.nansum(x, axis=0) / np.maximum(count, 1)
        self.merge(count, mean, np.nansum((x - mean) ** 2, axis=0))

    def merge(self, count: Any, mean: Any, squares: Any) -> None:
        """Take in numbers of which these are the count, the mean and the squared deviations."""
        whole = self.count + count
        share = np.divide(count, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole > 0))
        apart = mean - self.mean
        self.squares = self.squares + squares + apart**2 * self.count * share
        self.mean = self.mean + apart * share
        self.count = whole

    @classmethod
    def of(cls, parts: Iterable[np.ndarray]) -> "ColumnMoments":
        """Of all parts."""
        found = cls()
        for part in parts:
            found.add(part)
        return found

    @property
    def variance(self) -> Any:
        """The mean squared deviation."""
        return self.squares / np.maximum(self.count, 1)


MOST_LEVELS = 2**17
"""Different texts of a column that are counted; of more, the rarest are forgotten on the way."""
MOST_SEEN = 2**14
"""Different values of a column, about, that are remembered to tell what share of them is different."""


class Different:
    """The share of the values of a column that are different from each other.

    Only values whose hash is in a slice of all hashes are looked at, all their repetitions included: what share of
    those is different is an unbiased estimate of what share of all is, and exact where the slice is everything.

    Args:
        rows: how many values there may be; of up to `MOST_SEEN` the share is exact.
    """

    def __init__(self, rows: int):
        self.limit = 2.0**64 * min(1.0, MOST_SEEN / max(rows, 1))
        self.looked_at = 0
        self.seen = np.empty(0, dtype=np.uint64)

    def add(self, values: pl.Series) -> None:
        """Take in values, none of them null."""
        hashes = values.hash().to_numpy()
        hashes = hashes[hashes.astype(np.float64) <= self.limit]
        self.looked_at += len(hashes)
        self.seen = np.union1d(self.seen, hashes)

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return len(self.seen) / max(self.looked_at, 1)


class Texts:
    """What is told of a column of text: how often each level is there, and whether its values mark rows."""

    def __init__(self, name: str, rows: int):
        self.name, self.rows, self.known = name, 0, 0
        self.counts: dict[str, int] = {}
        self.different = Different(rows)

    def add(self, series: pl.Series, decimal: str | None) -> None:
        """Take in a column of String, whose numbers have that decimal mark."""
        values = series.drop_nulls()
        self.rows, self.known = self.rows + len(series), self.known + len(values)
        self.different.add(values)
        for level, count in level_counts(series, decimal).iter_rows():
            self.counts[level] = self.counts.get(level, 0) + count
        if len(self.counts) > MOST_LEVELS:
            frequent = sorted(self.counts.items(), key=lambda each: (-each[1], each[0]))
            self.counts = dict(frequent[: MOST_LEVELS // 2])

    @property
    def marks_rows(self) -> bool:
        """Whether it looks like an identifier: see `gatewise.data.preprocessing.coding`."""
        return marks_rows(self.name, self.known, self.different.share, None)

    @property
    def levels(self) -> pl.DataFrame:
        """As `level_counts` gives them."""
        return pl.DataFrame(
            {"level": list(self.counts), "count": list(self.counts.values())},
            schema={"level": pl.String, "count": pl.UInt32},
        )


class NumericColumns:
    """What is told of the columns of numbers `[N, D]`.

    Attributes:
        rows: N.
        moments: of the values that are there.
        low: the least of each, `[D]`.
        high: the greatest.
        whole: whether all of a column are whole numbers.
    """

    def __init__(self, names: list[str], rows: int):
        self.names, self.rows = names, 0
        self.moments = ColumnMoments()
        self.low, self.high = np.full(len(names), np.nan), np.full(len(names), np.nan)
        self.whole = np.ones(len(names), dtype=bool)
        self.different = [Different(rows) for _ in names]

    def add(self, frame: pl.DataFrame) -> None:
        """Take in columns of Float64."""
        x = frame.to_numpy()
        missing = np.isnan(x)
        self.rows += len(x)
        self.moments.add(x)
        self.low = np.fmin(self.low, np.where(missing, np.inf, x).min(axis=0))
        self.high = np.fmax(self.high, np.where(missing, -np.inf, x).max(axis=0))
        self.whole &= ((x == np.round(x)) | missing).all(axis=0)
        for i in np.flatnonzero(self.whole):
            self.different[i].add(frame[self.names[i]].drop_nulls())

    def marks_rows(self, i: int) -> bool:
        """Whether a column looks like an identifier."""
        count, share = int(self.moments.count[i]), self.different[i].share
        return bool(self.whole[i]) and marks_rows(self.names[i], count, share, float(self.high[i] - self.low[i]))


class TablePass:
    """What is told of all columns of a table by parts of its rows.

    Args:
        rows: how many there are.
    """

    def __init__(self, rows: int):
        self.total = rows
        self.texts: dict[str, Texts] = {}
        self.numbers = NumericColumns([], rows)
        self.parts: dict[str, DatePart] = {}

    def add(self, records: Records) -> None:
        """Take in rows of a table.

        Raises:
            GatewiseError: for values that no column may have.
        """
        frame, parts = _in_parts(plain_features(pl.DataFrame(records.features), records), records.date_format)
        self.parts |= parts
        texts = [name for name, kind in frame.schema.items() if kind == pl.String]
        if not self.texts and not self.numbers.names:
            self.texts = {name: Texts(name, self.total) for name in texts}
            self.numbers = NumericColumns([name for name in frame.columns if name not in self.texts], self.total)
        for name in texts:
            self.texts[name].add(frame[name], records.decimal)
        if self.numbers.names:
            self.numbers.add(frame.select(self.numbers.names))

    def marking_rows(self) -> set[str]:
        """The columns that look like identifiers."""
        numbers = {name for i, name in enumerate(self.numbers.names) if self.numbers.marks_rows(i)} - {*self.parts}
        return numbers | {name for name, text in self.texts.items() if text.marks_rows}

    def marks_each(self, name: str) -> bool:
        """Whether all values of a column are there and different, and texts or whole numbers."""
        if name in self.texts:
            text = self.texts[name]
            return text.known == text.rows and text.different.share == 1.0
        if name not in self.numbers.names:
            return False  # dates
        i = self.numbers.names.index(name)
        there = int(self.numbers.moments.count[i]) == self.numbers.rows
        return there and bool(self.numbers.whole[i]) and self.numbers.different[i].share == 1.0


def _in_parts(frame: pl.DataFrame, date_format: str | None) -> tuple[pl.DataFrame, dict[str, DatePart]]:
    """A table with the numbers of each column of points in time in its place, and what these are."""
    columns: list[pl.Series] = []
    found: dict[str, DatePart] = {}
    for column in frame.iter_columns():
        parts = {} if moment_of(column.dtype) is None else parts_of(column, date_format)
        found |= {part.feature: part for part in parts}
        columns += [pl.Series(part.feature, x, nan_to_null=True) for part, x in parts.items()] or [column]
    return pl.DataFrame(columns), found
