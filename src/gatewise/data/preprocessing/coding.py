"""A table's columns as one matrix of numbers: text becomes the code of its level.

Only the levels that are kept are stored, not every text that was seen: a column of names or identifiers
leaves no trace in a model.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from gatewise.data.columns import as_numbers, check_range, first_true, plain, read_numbers, typed_as, widened, without
from gatewise.data.dates import DatePart, moment_of, part_of, parts_of
from gatewise.data.number_format import NumberFormat
from gatewise.data.records import Records
from gatewise.data.text_types import CODE, TRUTH, read_moments
from gatewise.errors import GatewiseError
from gatewise.wording import shown

LEAST = 50  # values below which a column is too short to say

TEXT, NUMBERS = 0.95, 0.99  # the share of different values from which a column may be an identifier

DENSE = 10  # draws by chance from fewer than 10 N whole numbers are different in at most 95.2 % of N

NAMED = re.compile(r"(?i:(?:^|[\W_])(?:id|uuid|guid|index|identifier)$)|[a-z]I[dD]$")

NO_VALUE = "(missing)"  # the level of a text column that stands for a missing value
OTHER = -1  # the code of a text that is rare or was never seen
MOST_LEVELS = 200  # the most frequent levels of a text column that get a column of their own


@dataclass(frozen=True)
class Column:
    """A column of the table that is used: numbers where `levels` is None, else text with these levels.

    `format` is how numbers in text are written, also in levels; None: as the table's others. `part` says which number
    of a point in time it is, where the table has such.
    """

    name: str
    levels: tuple[str, ...] | None
    format: NumberFormat | None = None
    part: DatePart | None = None

    @property
    def tells_gaps(self) -> bool:
        """Whether a missing value has a column of its own: for points in time one of their numbers has."""
        return self.levels is None and (self.part is None or self.part.is_first)

    @property
    def source(self) -> str:
        """The column of the table."""
        return self.name if self.part is None else self.part.column


def plain_features(frame: pl.DataFrame, records: Records) -> pl.DataFrame:
    """The columns as `plain` has them, whoever made the frame; raises GatewiseError for other types."""
    return pl.DataFrame([plain_feature(column, records) for column in frame.iter_columns()])


def plain_feature(column: pl.Series, records: Records) -> pl.Series:
    """As `plain`; text becomes what the records' `readings` take it for."""
    values = plain(column, records.missing, records.place, records.reading)
    reading = records.readings.get(column.name)
    if values.dtype != pl.String or reading is None:
        return values
    return typed_as(values, reading, records.missing_numbers, records.date_format, records.place)


def described(series: pl.Series, keep: bool, records: Records) -> list[Column]:
    """How to use a column of `records`; empty where it tells nothing; with `keep` rare texts are levels too.

    Points in time are told by several numbers, without those that are the same in all rows.
    """
    if series.null_count() == len(series):
        return []
    if moment_of(series.dtype) is None:
        found = describe(series, keep, records.decimal, records.formats.get(series.name))
        return [] if found is None else [found]
    parts = parts_of(series, records.date_format)
    return [Column(part.feature, None, part=part) for part, x in parts.items() if part.is_first or _varies(x)]


def _varies(x: np.ndarray) -> bool:
    return bool(np.nanmin(x) < np.nanmax(x))


def describe(series: pl.Series, keep: bool, decimal: str | None, form: NumberFormat | None) -> Column | None:
    """How to use a column of numbers or text, or None where all texts are rare.

    `decimal` is what numbers in text are written with, and `form` how those of this column are.
    """
    if series.dtype != pl.String:
        known = series.drop_nulls()
        return of_numbers(series.name, form, decimal, known.is_in([0.0, 1.0]).all())
    return of_levels(series.name, level_counts(series, decimal), len(series), keep, decimal)


def of_numbers(name: str, form: NumberFormat | None, decimal: str | None, two: bool) -> Column:
    """How to use a column of numbers, written in a form; with `two` all are 0 or 1, and true and false are such too."""
    table = NumberFormat(decimal or ".")
    if two and form in (None, table):
        form = replace(table, texts="truth")
    return Column(name, None, form if form != table or decimal == "," else None)


def level_counts(series: pl.Series, decimal: str | None) -> pl.DataFrame:
    """How many rows of a String column have each `level`: its `count`."""
    return _levels(series, decimal).alias("level").value_counts()


def of_levels(name: str, counts: pl.DataFrame, rows: int, keep: bool, decimal: str | None) -> Column | None:
    """How to use a column of text, by how many of so many rows have each level, as `level_counts` tells it."""
    enough = 1 if keep else max(1, min(10, rows // 100))
    frequent = counts.filter(pl.col("count") >= enough).sort(["count", "level"], descending=[True, False])
    most = frequent.head(MOST_LEVELS)
    form = NumberFormat(decimal) if decimal == "," else None
    return Column(name, tuple(sorted(most["level"])), form) if len(most) else None


def codes(frame: pl.DataFrame, columns: Sequence[Column], records: Records) -> list[np.ndarray]:
    """The columns as float64 [N] each: numbers with NaN as missing, and the codes of levels.

    The frame's columns may be of any type that `plain` takes; `records` says what is missing and names the rows.
    Raises GatewiseError for text in a column of numbers.
    """
    moments: dict[str, pl.Series] = {}  # each column of text is read once for all of its parts
    found = []
    for column in columns:
        if column.part is None:
            found.append(_code(frame[column.name], column, records))
        else:
            if column.source not in moments:
                moments[column.source] = _moments(frame[column.source], column.part, records)
            found.append(part_of(moments[column.source], column.part))
    return found


def _code(series: pl.Series, column: Column, records: Records) -> np.ndarray:
    if column.levels is None and series.dtype.is_numeric():
        # as `plain`, without what is slow on many columns
        numbers = (widened(series) if records.reading > 1 else series.cast(pl.Float64)).to_numpy()
        check_range(numbers, series.name, records.place)
        return numbers
    values = plain(series, records.missing, records.place, records.reading)
    if column.levels is not None:
        decimal = records.decimal if column.format is None else column.format.decimal
        written = _levels(values, decimal) if records.reading > 1 else _levels_by_value(values, decimal)
        return written.replace_strict(_codes_of(column.levels), default=OTHER, return_dtype=pl.Float64).to_numpy()
    form = column.format or NumberFormat(records.decimal or ".")
    if moment_of(values.dtype) is not None or (series.dtype == pl.Boolean and form.texts != "truth"):
        raise GatewiseError(
            f"{records.place(0)}: column {shown(series.name)} holds {series.dtype} values, but the model was trained "
            "on numbers there; give numbers"
        )
    if values.dtype == pl.String:
        values = read_numbers(without(values, records.missing_numbers), form, records.place)
    return values.to_numpy()


def _moments(series: pl.Series, part: DatePart, records: Records) -> pl.Series:
    """A column of points in time, in whatever way they are given."""
    values = plain(series, records.missing, records.place, records.reading)
    if values.null_count() == len(values):
        values = values.cast(pl.String)
    if values.dtype == pl.String:
        values = without(values, records.missing_numbers)
        read = read_moments(values, part.moment, part.format)
    else:
        read = values
    row = first_true(read.is_null() & values.is_not_null())
    if row is not None or moment_of(read.dtype) != part.moment:
        such = "times of day, such as 23:59:00" if part.moment == "time" else "dates, such as 2020-12-31"
        raise GatewiseError(
            f"{records.place(row or 0)}: column {shown(part.column)} holds {shown(values[row or 0])}, but the model "
            f"was trained on {such}, there; write one, or leave it empty if it is missing"
        )
    return read


def _codes_of(levels: Sequence[str]) -> dict[str, int]:
    """The codes of levels, by all that means the same where it is no level itself.

    Text that holds numbers, or true and false, may come as numbers or booleans from another file, and a code may have
    lost its zeros there; an older model's levels are as its file had them.
    """
    found = {level: code for code, level in enumerate(levels)}
    for level, code in list(found.items()):
        for other in _spellings(level):
            found.setdefault(other, code)
    return found


def _spellings(level: str) -> list[str]:
    lower = level.lower()
    if lower in TRUTH:
        return [lower, f"{TRUTH[lower]:g}"]
    bare = level.lstrip("0") or "0" if level.isascii() and level.isdigit() else level
    return [bare, *(word for word, value in TRUTH.items() if level == f"{value:g}")]


def _levels(series: pl.Series, decimal: str | None) -> pl.Series:
    """Text by which a level is known, the same for 1 and 1.0, and for True and true; "01" is another.

    A column of text may hold numbers alone in a later file, which then arrive as numbers: whatever reads as
    a number is therefore known by its value, and "nan" is missing. A code is known with the zeros before it.
    """
    if moment_of(series.dtype) is not None:
        series = series.cast(pl.String)
    written = _levels_by_value(series, decimal)
    if series.dtype == pl.String:
        written = series.zip_with(series.str.contains(CODE).fill_null(False), written)
        lower = written.str.to_lowercase()
        written = lower.zip_with(lower.is_in([*TRUTH]), written)
    return written


def _levels_by_value(series: pl.Series, decimal: str | None) -> pl.Series:
    """As `_levels`, and as older versions had it: "01" is 1, True is not true."""
    numbers = as_numbers(series, decimal)
    written = numbers.cast(pl.String).str.strip_suffix(".0")
    if series.dtype == pl.String:
        written = written.fill_null(series).set(numbers.is_nan().fill_null(False), None)
    return written.fill_null(NO_VALUE)


def is_identifier(series: pl.Series) -> bool:
    """Whether nearly every value of a String or Float64 column is different, and it is no measurement; no other is.

    Text is an identifier where 95 % of its values are different. A measurement in whole numbers may be as different
    (a price in cents), so a column of numbers is one only where 99 % are different whole numbers that chance would
    not make so: they lie within 10 times as many as there are; or where its name ends in id, uuid, guid, index or
    identifier. Fewer than 50 values do not suffice for either.
    """
    values = series.drop_nulls()
    if len(values) < LEAST or not (values.dtype == pl.String or values.dtype.is_numeric()):
        return False
    share = values.n_unique() / len(values)
    if values.dtype == pl.String:
        return marks_rows(series.name, len(values), share, None)
    if share < NUMBERS or not (values == values.round()).all():
        return False
    numbers = values.to_numpy()
    return marks_rows(series.name, len(values), share, float(numbers.max() - numbers.min()))


def marks_rows(name: str, count: int, share: float, span: float | None) -> bool:
    """Whether a column of text or of whole numbers is an identifier, by what is known of it.

    Args:
        name: of the column.
        count: of its values.
        share: of them that are different.
        span: between the greatest and the least of whole numbers; None for text.
    """
    if count < LEAST:
        return False
    if span is None:
        return share >= TEXT
    return share >= NUMBERS and (span < DENSE * count or NAMED.search(name) is not None)
