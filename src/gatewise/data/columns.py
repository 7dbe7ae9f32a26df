"""One column at a time: features to Float64 or String, the target to the labels as written."""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from gatewise.data.target_names import RULE, target_columns
from gatewise.errors import GatewiseError
from gatewise.wording import listing, nearest, shown

LARGEST = float(np.finfo(np.float32).max)  # models compute in float32

LABEL_TYPES = (pl.String, pl.Categorical, pl.Enum, pl.Boolean, pl.Null)

NUMBER_COMMA = r"^[+-]?\d+(,\d+)*$"  # what a number is with a decimal comma, or with commas at thousands

Place = Callable[[int], str]  # a row counted from 0 -> the words for it: "adult.csv, line 2"


def parse_numbers(column: pl.Series, place: Place) -> pl.Series:
    """A String column as Float64 where every value that is there reads as a number, else unchanged.

    The text "nan" reads as a number and becomes missing. A column with no value at all becomes Float64. A column of
    numbers with a few strays among them ("n/a" in one row) raises GatewiseError: read as text, it would be lost.
    """
    numbers = column.cast(pl.Float64, strict=False)
    stray = numbers.is_null() & column.is_not_null()
    if not stray.any():
        return numbers.fill_nan(None)
    strays = column.filter(stray)
    if len(strays) <= 0.05 * len(column) and strays.n_unique() <= 3 and numbers.n_unique() > 20:
        row = int(stray.arg_max() or 0)
        raise GatewiseError(
            f"{place(row)}: column {shown(column.name)} holds {shown(column[row])} where nearly all others are "
            f'numbers; correct it, or name it among the missing values (missing = ["", "?", "NA", "{column[row]}"])'
        )
    return column


def parse_decimals(column: pl.Series, decimal: str | None, place: Place) -> pl.Series:
    """As `parse_numbers`, with a decimal comma where `decimal` is ",".

    Raises GatewiseError for a column of numbers with commas where `decimal` is None, and for points among numbers
    with decimal commas: 1.500 may then be one and a half or 1500.
    """
    if decimal == ",":
        numbers = parse_numbers(column.str.replace_all(",", ".", literal=True), place)
        if numbers.dtype == pl.String:
            return column
        check_points(column, place)
        return numbers
    parsed = parse_numbers(column, place)
    commas = column.str.contains(",", literal=True)
    if parsed.dtype == pl.String and decimal is None and commas.any() and column.str.contains(NUMBER_COMMA).all():
        row = first_true(commas) or 0
        raise GatewiseError(
            f"{place(row)}: column {shown(column.name)} holds {shown(column[row])}: set decimal = ',' if that is a "
            "decimal comma, decimal = '.' if it is text, and write numbers without marks of thousands"
        )
    return parsed


def as_numbers(column: pl.Series, decimal: str | None) -> pl.Series:
    """A column of numbers or text as Float64, null where text does not read as a number with that decimal mark."""
    if decimal == "," and column.dtype == pl.String:
        column = column.str.replace_all(",", ".", literal=True)
    return column.cast(pl.Float64, strict=False)


def check_points(column: pl.Series, place: Place) -> None:
    """Raises GatewiseError for a point in a String column of numbers with decimal commas."""
    row = first_true(column.str.contains(".", literal=True))
    if row is not None:
        raise GatewiseError(
            f"{place(row)}: column {shown(column.name)} holds {shown(column[row])}, with a point where numbers "
            "have a decimal comma; write numbers without marks of thousands"
        )


def plain(column: pl.Series, missing: Sequence[str], place: Place) -> pl.Series:
    """A feature column of any type as Float64 or String, missing values as nulls.

    Numbers, decimals and empty columns become Float64 with NaN as missing. Text and categories become
    String, stripped, with the texts in `missing` as missing; booleans become "true" and "false". Raises
    GatewiseError for any other type and for a number that is infinite or too large for float32.
    """
    dtype = column.dtype
    if dtype.is_numeric() or dtype == pl.Null:
        return within_range(column.cast(pl.Float64).fill_nan(None), place)
    if dtype == pl.Boolean:
        return column.cast(pl.String)
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return strip_missing(column.cast(pl.String), missing)
    raise GatewiseError(
        f"{place(0)}: column {shown(column.name)} holds {dtype} values; "
        "turn it into numbers or text, or drop the column"
    )


def strip_missing(column: pl.Series, missing: Sequence[str]) -> pl.Series:
    """A String column without spaces around its values, and null where one of the `missing` texts stood."""
    stripped = column.str.strip_chars()
    markers = [marker.strip() for marker in missing]
    return stripped.set(stripped.is_in(markers).fill_null(False), None)


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


def labels_of(columns: pl.DataFrame, place: Place, require: bool = True) -> np.ndarray | None:
    """The labels as written, str objects: [N] of one column, [N, L] of several. Errors and None: as `label_text`."""
    found = [label_text(column, place, require) for column in columns.iter_columns()]
    known = [labels for labels in found if labels is not None]
    if len(known) < len(found):
        return None
    return known[0] if len(known) == 1 else np.stack(known, axis=1)


def label_text(column: pl.Series, place: Place, require: bool = True) -> np.ndarray | None:
    """The labels as written, str objects [N]: text stripped, 3 as "3", 1.0 as "1.0", True as "true".

    An empty label raises GatewiseError, or gives None where labels are not required: some rows without a
    label cannot be scored, so none is. A type that is no label raises it too.
    """
    kind = f"the target {shown(column.name)}"
    if column.dtype.is_float():
        column = column.cast(pl.Float64).fill_nan(None)
    elif not (column.dtype.is_numeric() or column.dtype in LABEL_TYPES):
        raise GatewiseError(f"{place(0)}: {kind} holds {column.dtype} values; turn it into text or integers")
    text = column.cast(pl.String).str.strip_chars().fill_null("")
    row = first_true(text == "")
    if row is not None and require:
        raise GatewiseError(f"{place(row)}: {kind} is empty; add a label or drop the row")
    if row is not None:
        return None
    return np.array(text.to_list(), dtype=object)


def first_true(mask: pl.Series) -> int | None:
    """The first position at which a Boolean column is true, or None; nulls are not true."""
    mask = mask.fill_null(False)
    return mask.arg_max() if mask.any() else None
