"""CSV files: every field is read as text, then columns that hold numbers throughout become numbers."""

import csv
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import polars as pl

from gatewise.data.columns import label_text, parse_numbers, plain, split_target, strip_missing
from gatewise.data.records import Records
from gatewise.errors import GatewiseError
from gatewise.wording import shown


def read_csv(path: Path, target: str | None, missing: Sequence[str], require_target: bool) -> Records:
    """The rows of a comma-separated file in UTF-8 with a header line.

    Spaces around names and fields are dropped. A feature column becomes Float64 where all its values that
    are not missing read as numbers, else it stays text. Labels stay as written, whatever they look like.
    Raises GatewiseError for a file that is not such a table, naming the line.
    """
    name = str(path)
    text = _read_text(path)
    frame = _fields(text, name)
    if frame.is_empty():
        raise GatewiseError(f"{name}: a header and no rows; add rows below it")

    def place(row: int) -> str:
        line, _ = next(islice(_lines(text, name), row + 1, None))
        return f"{name}, line {line}"

    features, labels = split_target(frame, target, require_target, name)
    columns = [parse_numbers(strip_missing(column, missing), place) for column in features.iter_columns()]
    return Records(
        features=pl.DataFrame([plain(column, (), place) for column in columns]),
        labels=None if labels is None else label_text(labels, place, require_target),
        name=name,
        target=None if labels is None else target,
        missing=tuple(missing),
    )


def _read_text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise GatewiseError(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8") from None
    except OSError as error:
        raise GatewiseError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    check_text(text, str(path))
    return text


def check_text(text: str, name: str) -> None:
    """Raises GatewiseError for what only binary files hold."""
    if "\0" in text:
        raise GatewiseError(f"{name}: a binary file, not comma-separated text; save the table as CSV")


def _fields(text: str, name: str) -> pl.DataFrame:
    """Every field as text, an empty one as ""."""
    header = _header(text, name)
    if len(header) > 1:
        text = text.rstrip()  # blank lines at the end; with one column they are missing values
    if '"' in text:
        return quoted(header, [fields for _, fields in islice(_lines(text, name), 1, None)])
    return unquoted(header, text, name, lambda: _lines(text, name))


def quoted(header: list[str], rows: list[list[str]]) -> pl.DataFrame:
    """Rows that the csv module has read; polars stumbles over a quote inside a field and over a space before one."""
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    return pl.DataFrame([pl.Series(h, c, pl.String) for h, c in zip(header, columns, strict=True)])


def unquoted(header: list[str], text: str, name: str, again: Callable[[], Iterable]) -> pl.DataFrame:
    """A header line and rows without any quote; read `again` by the csv module where a row seems ragged."""
    try:
        frame = pl.read_csv(text.encode(), infer_schema=False, quote_char=None, new_columns=header)
    except pl.exceptions.PolarsError as error:
        deque(again(), maxlen=0)  # names the line, where a row is too long
        reason = str(error).splitlines()[0]
        raise GatewiseError(f"{name}: not a comma-separated table ({reason}); mend the file") from None
    if frame[:, -1].null_count():
        deque(again(), maxlen=0)  # a row that is too short ends in a null too
    return frame.with_columns(pl.all().fill_null(""))


def _header(text: str, name: str) -> list[str]:
    return header_of(next(_lines(text, name), None), name)


def header_of(first: tuple[int, list[str]] | None, name: str) -> list[str]:
    """The names in the first row that `rows_of` has found; raises GatewiseError where they cannot be names."""
    if first is None:
        raise GatewiseError(f"{name}: the file is empty; give a header line and rows")
    header = [field.strip() for field in first[1]]
    for position, column in enumerate(header):
        if not column:
            raise GatewiseError(f"{name}: column {position + 1} has no name in the header; name it or drop the column")
        if column in header[:position]:
            raise GatewiseError(
                f"{name}: the header has {shown(column)} twice (columns {header.index(column) + 1} and "
                f"{position + 1}); rename one"
            )
    return header


def _lines(text: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """The header and the rows with the line each ends on; a row that is ragged raises GatewiseError."""
    return rows_of(io.StringIO(text), name)


def rows_of(lines: Iterable[str], name: str, width: int = 0, before: int = 0) -> Iterator[tuple[int, list[str]]]:
    """As `_lines`; with a width the lines are rows that follow on a header and `before` lines."""
    reader = csv.reader(lines, skipinitialspace=True, strict=True)
    try:
        for row in reader:
            if not width and not row:
                continue  # blank lines before the header
            fields = row or [""] * (width == 1)
            width = width or len(fields)
            if len(fields) != width:
                raise GatewiseError(
                    f"{name}, line {before + reader.line_num}: {len(fields)} fields where the header has {width}; "
                    "mend the line, and quote a field that contains a comma"
                )
            yield before + reader.line_num, fields
    except csv.Error as error:
        raise GatewiseError(f"{name}, line {before + reader.line_num}: {error}; mend the quotes") from None
