"""One column at a time: features to Float64 or String, the target to the labels as written."""

from collections.abc import Collection, Sequence

import numpy as np
import polars as pl

from gatewise.data.dates import as_moments, moment_of, seconds
from gatewise.data.number_format import PLAIN, FormatEvidence, NumberFormat
from gatewise.data.read_options import READING, Form
from gatewise.data.readings import Place, Reading, reading_of, reading_of_type
from gatewise.data.target_columns import RULE, target_columns
from gatewise.data.text_types import TypeEvidence, read_moments
from gatewise.errors import GatewiseError
from gatewise.wording import listing, nearest, shown

LARGEST = float(np.finfo(np.float32).max)  # models compute in float32

LABEL_TYPES = (pl.String, pl.Categorical, pl.Enum, pl.Boolean, pl.Null)


def typed(column: pl.Series, form: Form, missing: Sequence[str], place: Place) -> tuple[pl.Series, Reading | None]:
    """A String column as Float64 where it is of numbers, else unchanged, and how it was read.

    Nulls are missing. Of numbers the texts in `form.missing_numbers` are missing too; a column without a value is of
    numbers.

    Raises:
        GatewiseError: as `reading_of` does, and for a number beyond float32.
    """
    values = without(column, form.missing_numbers)
    if form.formats is not None and column.name in form.formats:
        known = form.formats[column.name]
        return (column, None) if known is None else (read_numbers(values, known, place), Reading(known))
    types = None
    if form.formats is None and column.name not in form.as_numbers:
        types = reading_of_type(TypeEvidence(form.date_format).add(values), form.decimal)
        if types is not None and types.type is not None:
            return typed_as(column, types, form.missing_numbers, form.date_format, place), types
    if form.decimal != ",":  # quickly
        numbers = values.cast(pl.Float64, strict=False)
        if numbers.null_count() == values.null_count() and column.name not in form.as_numbers:
            return within_range(numbers.fill_nan(None), place), Reading(PLAIN)
    reading = reading_of(column.name, len(column), FormatEvidence(form.decimal).add(values), form, missing, place)
    reading = reading or types
    if reading is None or reading.format is None:
        return (column, reading) if values.null_count() < len(values) else (values.cast(pl.Float64), None)
    return read_numbers(values, reading.format, place), reading


def typed_columns(
    frame: pl.DataFrame, texts: Collection[str], form: Form, missing: Sequence[str], place: Place
) -> tuple[pl.DataFrame, dict[str, Reading]]:
    """A table with the columns of text among `texts` as `typed` has them, and how they were read."""
    columns, readings = [], {}
    for column in frame.iter_columns():
        if column.name in texts and column.dtype == pl.String:
            column, reading = typed(strip_missing(column, missing), form, missing, place)
            readings |= {} if reading is None else {column.name: reading}
        columns.append(column)
    return pl.DataFrame(columns), readings


def typed_as(
    column: pl.Series, reading: Reading, missing: Sequence[str], date_format: str | None, place: Place
) -> pl.Series:
    """A String column, of which nulls are missing, as it is to be read."""
    if reading.format is not None:
        return read_numbers(without(column, missing), reading.format, place)
    if reading.type in ("date", "time"):
        return read_moments(without(column, missing), reading.type, date_format)
    return column


def check_as_numbers(columns: Sequence[str], form: Form, name: str) -> None:
    """Raises GatewiseError where `form.as_numbers` names a column that is not there; `name` is the table's."""
    for column in form.as_numbers:
        if column not in columns:
            raise GatewiseError(
                f"{name}: as_numbers names {shown(column)}, which is no column; {nearest(column, columns)}"
                f"columns: {listing(columns)}"
            )


def read_numbers(values: pl.Series, form: NumberFormat, place: Place) -> pl.Series:
    """A String column of numbers as Float64; raises GatewiseError for what is none, but where that is missing."""
    numbers = form.read(values)
    row = first_true(numbers.is_null() & values.is_not_null())
    if row is not None and not form.loose:
        if form.decimal == "," and "." in values[row]:
            raise GatewiseError(
                f"{place(row)}: column {shown(values.name)} holds {shown(values[row])}, with a point where numbers "
                "have a decimal comma; write a comma"
            )
        words = f" {form.words()}" if form.words() else ""
        raise GatewiseError(
            f"{place(row)}: column {shown(values.name)} holds {shown(values[row])}, but the model was "
            f"trained on numbers{words} there; write a number, or leave it empty if it is missing"
        )
    return within_range(numbers.fill_nan(None), place)


def without(column: pl.Series, marks: Sequence[str]) -> pl.Series:
    """A String column with null where one of the texts stands."""
    return column.set(column.is_in(list(marks)).fill_null(False), None)


def as_numbers(column: pl.Series, decimal: str | None) -> pl.Series:
    """A column of numbers or text as Float64, null where text does not read as a number with that decimal mark."""
    if decimal == "," and column.dtype == pl.String:
        column = column.str.replace_all(",", ".", literal=True)
    return column.cast(pl.Float64, strict=False)


def plain(column: pl.Series, missing: Sequence[str], place: Place, reading: int = READING) -> pl.Series:
    """A feature column of any type as Float64, String, `Datetime` in microseconds or `Time`, missing values as nulls.

    Numbers, decimals and empty columns become Float64 with NaN as missing, as do booleans, 1 for true, and durations,
    in seconds. Text and categories become String, stripped, with the texts in `missing` as missing. Raises
    GatewiseError for any other type and for a number that is infinite or too large for float32. With `reading` 1
    (see `Form`) booleans become "true" and "false", and durations, dates and times are other types.
    """
    dtype = column.dtype
    if dtype.is_numeric() or dtype == pl.Null:
        numbers = widened(column) if reading > 1 else column.cast(pl.Float64)
        return within_range(numbers.fill_nan(None), place)
    if dtype == pl.Boolean:
        return column.cast(pl.Float64 if reading > 1 else pl.String)
    if reading > 1 and dtype == pl.Duration:
        return seconds(column)
    if reading > 1 and moment_of(dtype) is not None:
        return as_moments(column)
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return strip_missing(column.cast(pl.String), missing)
    raise GatewiseError(f"{place(0)}: {no_use_of(column.name, dtype)}")


def no_use_of(name: str, kind: object) -> str:
    """What is said of a column of a type that is neither numbers nor text nor points in time."""
    return (
        f"column {shown(name)} holds {kind} values; turn it into numbers or text, or leave it out with "
        f"--set 'drop={name}'"
    )


def widened(column: pl.Series) -> pl.Series:
    """A column of any numbers as Float64: what text that its writer makes of it reads as.

    A float of 32 bits is the shortest decimal number that rounds to it (0.1, not 0.10000000149), one of 16 bits what
    NumPy and pandas write.
    """
    dtype = column.dtype
    if dtype == pl.Decimal or dtype == pl.Float32:
        return column.cast(pl.String).cast(pl.Float64)
    if dtype.is_float() and dtype != pl.Float64:
        values, where = np.unique(column.to_numpy().astype(np.float16), return_inverse=True)  # 65,536 at most
        return pl.Series(column.name, np.array([float(str(value)) for value in values])[where])
    return column.cast(pl.Float64)


def strip_missing(column: pl.Series, missing: Sequence[str]) -> pl.Series:
    """A String column without spaces around its values, and null where one of the `missing` texts stood."""
    stripped = column.str.strip_chars()
    return without(stripped, [marker.strip() for marker in missing])


def within_range(numbers: pl.Series, place: Place) -> pl.Series:
    """The Float64 column itself; raises GatewiseError for a number that float32 cannot hold."""
    check_range(numbers.to_numpy(), numbers.name, place)  # nulls are NaN here; polars is slow on wide tables
    return numbers


def check_range(numbers: np.ndarray, name: str, place: Place) -> None:
    """Raises GatewiseError for a number in a float64 array [N] that float32 cannot hold; NaN it can."""
    beyond = np.abs(numbers) > LARGEST
    if beyond.any():
        row = int(beyond.argmax())
        raise GatewiseError(
            f"{place(row)}: column {shown(name)} holds {numbers[row]}, which is infinite or beyond "
            "3.4e38; write a finite number, or leave the field empty if it is missing"
        )


def split_target(
    frame: pl.DataFrame, target: str | None, require: bool, name: str
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """The feature columns, and those of the target; None where the frame lacks one of these and none is required.

    Raises GatewiseError where a required target is not named or not there, and where no feature is left.
    """
    if target is None and require:
        raise GatewiseError(
            f"{name}: say which column holds the labels with --target; columns: {listing(frame.columns)}"
        )
    names = [] if target is None else target_columns(target, frame.columns)
    there = [column for column in names if column in frame.columns]
    if require and len(there) < len(names):
        lacking = next(column for column in names if column not in there)
        raise GatewiseError(_no_such_column(frame.columns, lacking, name, len(names) > 1))
    if not there:
        return frame, None
    if frame.width == len(there):
        raise GatewiseError(f"{name}: no column besides the target {shown(target)}; add feature columns")
    return frame.drop(there), frame.select(names) if len(there) == len(names) else None


def selected(features: pl.DataFrame, columns: Sequence[str] | None) -> pl.DataFrame:
    """The columns that are wanted alone, where all are there; else all, so that the model says which one lacks."""
    return features.select(columns) if columns is not None and {*columns} <= {*features.columns} else features


def without_values(name: str, rows: int) -> pl.Series:
    """What stands for a column that is not looked at."""
    return pl.repeat(None, rows, dtype=pl.Float64, eager=True).alias(name)


def _no_such_column(columns: list[str], target: str, name: str, several: bool) -> str:
    hint, rule = nearest(target, columns), f" ({RULE})" if several else ""
    return f"{name}: no column {shown(target)} to take the labels from{rule}; {hint}columns: {listing(columns)}"


def label_text(column: pl.Series, place: Place) -> pl.Series:
    """The labels as written, as String: text stripped, 3 as "3", 1.0 as "1.0", True as "true", a missing one as "".

    A type that is no label raises GatewiseError.
    """
    if column.dtype.is_float():
        column = column.cast(pl.Float64).fill_nan(None)
        column = column.set((column == 0).fill_null(False), 0.0)  # -0.0 is no class of its own
    elif not (column.dtype.is_numeric() or column.dtype in LABEL_TYPES):
        raise GatewiseError(
            f"{place(0)}: the target {shown(column.name)} holds {column.dtype} values; turn it into text or integers"
        )
    return column.cast(pl.String).str.strip_chars().fill_null("")


def labels_there(columns: pl.DataFrame, place: Place) -> np.ndarray | None:
    """The labels as written, str objects: [N] of one column, [N, L] of several; None where not every row has one.

    A type that is no label raises GatewiseError.
    """
    found = [label_text(column, place) for column in columns.iter_columns()]
    if any((text == "").any() for text in found):
        return None
    labels = np.stack([np.array(text.to_list(), dtype=object) for text in found], axis=1)
    return labels[:, 0] if len(found) == 1 else labels


def first_true(mask: pl.Series) -> int | None:
    """The first position at which a Boolean column is true, or None; nulls are not true."""
    mask = mask.fill_null(False)
    return mask.arg_max() if mask.any() else None


def check_type(x: np.ndarray, name: str) -> None:
    """Raises GatewiseError unless x is of integers, booleans, or floats of at most 64 bits."""
    if x.dtype.kind not in "biuf" or x.dtype.itemsize > 8:
        raise GatewiseError(f"{name} holds {x.dtype} values; give integers, float32 or float64")


def check_numbers(x: np.ndarray, name: str) -> None:
    """Raises GatewiseError unless x is [N, ...] with rows, of real numbers all finite in float32."""
    check_type(x, name)
    if x.ndim < 2 or x.size == 0:
        raise GatewiseError(f"{name} has shape {x.shape}; give rows of numbers, shape [N, ...]")
    if x.dtype.kind != "f":
        return
    bad = ~(np.abs(x) <= np.float64(LARGEST))  # False for NaN, so NaN is bad too
    if bad.any():
        position = [int(i) for i in np.unravel_index(bad.argmax(), x.shape)]
        raise GatewiseError(
            f"{name} has {int(bad.sum())} numbers that are NaN, infinite or beyond 3.4e38, the first at "
            f"{position}; replace them or drop their rows"
        )
