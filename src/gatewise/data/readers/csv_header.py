"""Names of a CSV file's columns: made where there is no header, and doubted where the header looks like data."""

import csv
import io
import math
from collections.abc import Collection, Sequence

import polars as pl

from gatewise.data.read_options import Form
from gatewise.data.row_numbers import UNNAMED
from gatewise.data.target_columns import joined, names_of
from gatewise.errors import GatewiseError
from gatewise.wording import listing, shown

SEPARATORS = (",", ";", "\t", "|", " ")

LOOKED_AT = 2**20  # characters in which the first two rows are looked for
SAMPLE = 1000  # rows in which a name is looked for among the values of its column


def numbered(target: str | None, width: int) -> str | None:
    """The column c3 where the target is its number, "3", or "-1" counted from the last; else the target itself.

    Several are numbered each for itself.
    """
    return None if target is None else joined([_numbered(name, width) for name in names_of(target)])


def _numbered(name: str, width: int) -> str:
    try:
        column = int(name)
    except ValueError:
        return name
    column += width if column < 0 else 0
    return f"c{column}" if 0 <= column < width else name


def generated(width: int, target: str | None, features: int | None, name: str) -> list[str]:
    """The names c0, c1, … of so many columns.

    Where a model was trained on so many `features`, a file with just these has no column of labels: the numbers of
    the target are then passed over. Raises GatewiseError for a file with more or fewer columns than with or without.
    """
    targets = [] if target is None else names_of(target)
    whole = (features or 0) + max(1, len(targets))
    names = [f"c{i}" for i in range(width + max(1, len(targets)))]
    if features is not None and width == features and targets and set(targets) <= set(names):
        return [each for each in names if each not in targets]
    if features is not None and width != whole:
        label = "label" if len(targets) < 2 else "labels"
        raise GatewiseError(
            f"{name}: {width} columns, but the model was trained on {features} and the {label} ({target}); without a "
            f"header the columns are told by their place, so give {features}, or {whole} with the labels"
        )
    return names[:width]


def with_row_names(text: str, separator: str) -> str:
    """The text with an empty name before the others, where the first row has a field more than the header has names.

    R's `write.table` writes row names so, and R and pandas read them so. A row that ends in an empty field is another
    thing, a separator too many.
    """
    rows = (row for row in csv.reader(io.StringIO(text[:LOOKED_AT]), delimiter=separator, skipinitialspace=True) if row)
    try:
        names, fields = next(rows, []), next(rows, [])
    except csv.Error:
        return text  # whoever reads the rows says what is wrong
    if len(fields) != len(names) + 1 or not fields[-1].strip():
        return text
    before = len(text) - len(text.lstrip("\r\n"))
    return f'{text[:before]}""{separator}{text[before:]}'


def check_unnamed(header: Sequence[str], features: pl.DataFrame, numbering: Collection[str], name: str) -> None:
    """Raises GatewiseError for a column of values that has no name in the header and is none of row numbers.

    Args:
        header: the fields of the first line.
        features: the columns that are wanted, typed.
        numbering: those of row numbers.
        name: of the file.
    """
    given = {*header}
    for column in features.iter_columns():
        if UNNAMED.match(column.name) and column.name not in {*given, *numbering} and column.null_count() < len(column):
            position = int(column.name.split()[1].partition(".")[0])
            raise GatewiseError(
                f"{name}: column {position + 1} has no name in the header, and does not number or name the rows; name "
                f"it, or leave it out with --set 'drop={column.name}'"
            )


def check_header(frame: pl.DataFrame, name: str, form: Form) -> None:
    """Raises GatewiseError where the names of a table of text look like data, and nobody said what they are."""
    if form.header is None and _like_data(frame.head(SAMPLE)):
        raise GatewiseError(
            f"{name}: its first line looks like data, not like names of columns ({listing(frame.columns, 5)}); say "
            "--set header=false if the file has no header (the columns are then c0, c1, ...), or --set header=true if "
            "these are the names"
        )


def _like_data(frame: pl.DataFrame) -> bool:
    """Whether numbers in it are no years or positions, or most names are numbers and values of their own columns."""
    numbers = [number for number in map(_number, frame.columns) if number is not None]
    if any(not number.is_integer() or number < 0 for number in numbers) or numbers != sorted(set(numbers)):
        return True
    texts = [column for column in frame.iter_columns() if _number(column.name) is None]
    met = sum(column.name in column.str.strip_chars() for column in texts)
    return met > 0 and 2 * (met + len(numbers)) > frame.width


def _number(text: str) -> float | None:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def likely_separator(text: str, separator: str, sure: bool) -> str | None:
    """What seems to separate the fields instead: a mark as often in all first lines, or once less in the header.

    Where somebody is `sure` of `separator`, the first line must have none of it, else fewer than of the mark.
    """
    lines = [line for line in text[:100_000].splitlines() if line.strip()][:10]
    if not lines or (sure and separator in lines[0]):
        return None
    # spaces are in texts too, so they separate fields only where nothing else does
    marks = SEPARATORS if separator not in lines[0] else SEPARATORS[:-1]
    counts = {mark: lines[0].count(mark) for mark in marks if lines[0].count(mark) > lines[0].count(separator)}
    rows = lines[1:] or lines
    found = [mark for mark, count in counts.items() if {line.count(mark) for line in rows} in ({count}, {count + 1})]
    return max(found, key=counts.__getitem__, default=None)


def check_separator(text: str, form: Form, name: str) -> None:
    """Raises GatewiseError where the fields of a file seem to be separated by something else."""
    separator = form.separator_of(name)
    if mark := likely_separator(text, separator, form.separator is not None):
        said, here = ({"\t": "tab", " ": "space"}.get(each, each) for each in (mark, separator))
        first = shown(text.strip().splitlines()[0])
        raise GatewiseError(
            f"{name}: its fields seem separated by {said!r}, not {here!r}, as in {first}; train with "
            f"--set separator='{said}', or separate the fields with {'commas' if here == ',' else here}"
        )
