"""A table's columns as one matrix of numbers: text becomes the code of its level.

Only the levels that are kept are stored, not every text that was seen: a column of names or identifiers
leaves no trace in a model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from gatewise.data.columns import as_numbers, check_range, plain, read_numbers, without
from gatewise.data.number_format import NumberFormat
from gatewise.data.records import Records

NO_VALUE = "(missing)"  # the level of a text column that stands for a missing value
OTHER = -1  # the code of a text that is rare or was never seen
MOST_LEVELS = 200  # the most frequent levels of a text column that get a column of their own


@dataclass(frozen=True)
class Column:
    """A column of the table that is used: numbers where `levels` is None, else text with these levels.

    `format` is how numbers in text are written, also in levels; None: as the table's others.
    """

    name: str
    levels: tuple[str, ...] | None
    format: NumberFormat | None = None


def plain_features(frame: pl.DataFrame, records: Records) -> pl.DataFrame:
    """The columns as Float64 or String, whoever made the frame; raises GatewiseError for other types."""
    return pl.DataFrame([plain_feature(column, records) for column in frame.iter_columns()])


def plain_feature(column: pl.Series, records: Records) -> pl.Series:
    """As `plain`; text that the records' `readings` take for numbers becomes Float64."""
    values = plain(column, records.missing, records.place)
    reading = records.readings.get(column.name)
    if values.dtype != pl.String or reading is None or reading.format is None:
        return values
    return read_numbers(without(values, records.missing_numbers), reading.format, records.place)


def describe(
    series: pl.Series, keep: bool = False, decimal: str | None = None, form: NumberFormat | None = None
) -> Column | None:
    """How to use a column, or None where it tells nothing; with `keep` rare texts are levels too.

    `decimal` is what numbers in text are written with, and `form` how those of this column are.
    """
    if series.null_count() == len(series):
        return None
    if series.dtype != pl.String:
        return Column(series.name, None, form)
    return of_levels(series.name, level_counts(series, decimal), len(series), keep, decimal)


def level_counts(series: pl.Series, decimal: str | None) -> pl.DataFrame:
    """How many rows of a String column have each `level`: its `count`."""
    return _levels(series, decimal).alias("level").value_counts()


def of_levels(name: str, counts: pl.DataFrame, rows: int, keep: bool, decimal: str | None) -> Column | None:
    """How to use a column of text, by how many of so many rows have each level, as `level_counts` tells it."""
    enough = 1 if keep else max(1, min(10, rows // 100))
    frequent = counts.filter(pl.col("count") >= enough).sort(["count", "level"], descending=[True, False])
    most = frequent.head(MOST_LEVELS)
    written = NumberFormat(decimal) if decimal == "," else None
    return Column(name, tuple(sorted(most["level"])), written) if len(most) else None


def codes(frame: pl.DataFrame, columns: Sequence[Column], records: Records) -> list[np.ndarray]:
    """The columns as float64 [N] each: numbers with NaN as missing, and the codes of levels.

    The frame's columns may be of any type that `plain` takes; `records` says what is missing and names the rows.
    Raises GatewiseError for text in a column of numbers.
    """
    return [_code(frame[column.name], column, records) for column in columns]


def _code(series: pl.Series, column: Column, records: Records) -> np.ndarray:
    if column.levels is None and series.dtype.is_numeric():  # as `plain`, without what is slow on many columns
        numbers = series.cast(pl.Float64).to_numpy()
        check_range(numbers, series.name, records.place)
        return numbers
    series = plain(series, records.missing, records.place)
    if column.levels is not None:
        decimal = records.decimal if column.format is None else column.format.decimal
        series = _levels(series, decimal).replace_strict(
            column.levels, range(len(column.levels)), default=OTHER, return_dtype=pl.Float64
        )
    elif series.dtype == pl.String:
        form = column.format or NumberFormat(records.decimal or ".")
        series = read_numbers(without(series, records.missing_numbers), form, records.place)
    return series.to_numpy()


def _levels(series: pl.Series, decimal: str | None) -> pl.Series:
    """Text by which a level is known, the same for 1, 1.0 and "01".

    A column of text may hold numbers alone in a later file, which then arrive as numbers: whatever reads as
    a number is therefore known by its value, and "nan" is missing.
    """
    numbers = as_numbers(series, decimal)
    written = numbers.cast(pl.String).str.strip_suffix(".0")
    if series.dtype == pl.String:
        written = written.fill_null(series).set(numbers.is_nan().fill_null(False), None)
    return written.fill_null(NO_VALUE)
