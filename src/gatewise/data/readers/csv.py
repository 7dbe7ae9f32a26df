"""CSV files: every field is read as text, then columns that hold numbers throughout become numbers."""

import csv
import io
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import polars as pl

from gatewise.data.columns import check_as_numbers, selected, split_target, typed_columns, without_values
from gatewise.data.read_options import Form
from gatewise.data.readers.csv_header import (
    check_header,
    check_separator,
    check_unnamed,
    generated,
    numbered,
    with_row_names,
)
from gatewise.data.readers.quoted_texts import GAP, without_bare_gaps
from gatewise.data.readers.text_files import open_text
from gatewise.data.records import Records
from gatewise.data.row_numbers import row_numbers, unnamed
from gatewise.data.unlabelled import with_labels
from gatewise.errors import GatewiseError
from gatewise.wording import shown

DEFAULT = Form()
MARK = "\ufeff"  # at the beginning of a text, where an encoding leaves it there


def read_csv(
    path: Path,
    target: str | None,
    missing: Sequence[str],
    require_target: bool,
    form: Form = DEFAULT,
    columns: Sequence[str] | None = None,
    drop: Collection[str] = (),
) -> Records:
    """The rows of a file in UTF-8 of fields with commas between them, or as `form` says, below a header line.

    Without a header the columns are c0, c1, …, and `target` may be the number of a column.
    Of several target columns (`gatewise.data.target_columns`) the labels are [N, L].

    A first column whose name is empty, or for which the header has no field, may be that of row numbers or row names
    (`gatewise.data.row_numbers`). Of the feature columns only `columns` are read, where the file has them all, and
    those in `drop` are not looked at: they have no values.

    Spaces around names and fields are dropped. A feature column becomes Float64 where all its values that
    are not missing read as numbers, else it stays text. Labels stay as written, whatever they look like.
    Raises GatewiseError for a file that is not such a table, naming the line.
    """
    name = str(path)
    text = _read_text(path, form.encoding)
    separator = form.separator_of(name)
    check_separator(text, form, name)
    header = None
    if form.header is False:
        width = len(_first(text, name, separator))
        target = numbered(target, width)
        header = generated(width, target, form.features, name)
    else:
        text = with_row_names(text, separator)
        if form.reading > 1 and GAP in text:
            text = "".join(without_bare_gaps(io.StringIO(text, newline=""), separator))
    frame = _fields(text, name, separator, header)
    if frame.is_empty():
        raise GatewiseError(f"{name}: a header and no rows; add rows below it")
    check_header(frame, name, form)

    def place(row: int) -> str:
        line, _ = next(islice(_lines(text, name, separator), row + (header is None), None))
        return f"{name}, line {line}"

    features, labels = split_target(frame, target, require_target, name)
    check_as_numbers(frame.columns, form, name)
    features = pl.DataFrame(
        [
            without_values(each.name, len(each)) if each.name in drop else each
            for each in selected(features, columns).iter_columns()
        ]
    )
    features, readings = typed_columns(features, features.columns, form, missing, place)
    numbering = row_numbers(features) if form.reading > 1 else []
    if header is None:
        check_unnamed(_first(text, name, separator), features, numbering, name)
    records = Records(
        features=features,
        labels=None,
        name=name,
        missing=tuple(missing),
        missing_numbers=form.missing_numbers,
        decimal=form.decimal,
        reading=form.reading,
        date_format=form.date_format,
        readings=readings,
        row_numbers=tuple(numbering),
    )
    return with_labels(records, labels, form, place, require_target)


def _read_text(path: Path, encoding: str | None) -> str:
    with open_text(path, encoding) as file:
        text = file.read()
    check_text(text, str(path))
    return text.removeprefix(MARK)


def check_text(text: str, name: str) -> None:
    """Raises GatewiseError for what only binary files hold."""
    if "\0" in text:
        raise GatewiseError(
            f"{name}: a binary file, not text, or text as --set encoding=utf-16-le has it; save the table as CSV"
        )


def blanks(separator: str) -> str:
    """What a blank line is made of."""
    return "".join({*" \t\r\n\v\f"} - {separator})


def _fields(text: str, name: str, separator: str = ",", names: list[str] | None = None) -> pl.DataFrame:
    """Every field as text, an empty one as ""; `names` where the first line is a row and no header."""
    header = names or header_of(_first(text, name, separator), name)
    if len(header) > 1:
        # blank lines at the end; with one column they are missing values
        text = text.rstrip(blanks(separator))
    if names:
        text = text.lstrip(" \r\n")
    if '"' in text:
        rows = islice(_lines(text, name, separator), 0 if names else 1, None)
        return quoted(header, [fields for _, fields in rows])
    return unquoted(header, text, name, lambda: _lines(text, name, separator), separator, not names)


def quoted(header: list[str], rows: list[list[str]]) -> pl.DataFrame:
    """Rows that the csv module has read; polars stumbles over a quote inside a field and over a space before one."""
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    return pl.DataFrame([pl.Series(h, c, pl.String) for h, c in zip(header, columns, strict=True)])


def unquoted(
    header: list[str],
    text: str,
    name: str,
    again: Callable[[], Iterable],
    separator: str = ",",
    has_header: bool = True,
) -> pl.DataFrame:
    """Rows without any quote, below a header line or not; read `again` by the csv module where a row seems ragged."""
    try:
        frame = pl.read_csv(
            text.encode(),
            infer_schema=False,
            quote_char=None,
            separator=separator,
            has_header=has_header,
            new_columns=header,
        )
    except pl.exceptions.PolarsError as error:
        deque(again(), maxlen=0)  # names the line, where a row is too long
        reason = str(error).splitlines()[0]
        raise GatewiseError(f"{name}: not a table of separated fields ({reason}); mend the file") from None
    if frame[:, -1].null_count():
        deque(again(), maxlen=0)  # a row that is too short ends in a null too
    return frame.with_columns(pl.all().fill_null(""))


def _first(text: str, name: str, separator: str) -> list[str]:
    """The fields of the first line."""
    return fields_of(next(_lines(text, name, separator), None), name)


def fields_of(first: tuple[int, list[str]] | None, name: str) -> list[str]:
    """The fields of the first row that `rows_of` has found; raises GatewiseError where there is none."""
    if first is None:
        raise GatewiseError(f"{name}: the file is empty; give a header line and rows")
    return [field.strip() for field in first[1]]


def header_of(header: list[str], name: str) -> list[str]:
    """The names, made where there is none; raises GatewiseError where they cannot be names."""
    header = [column or unnamed(position, header) for position, column in enumerate(header)]
    for position, column in enumerate(header):
        if column in header[:position]:
            raise GatewiseError(
                f"{name}: the header has {shown(column)} twice (columns {header.index(column) + 1} and "
                f"{position + 1}); rename one, or say --set header=false if the file has no header"
            )
    return header


def _lines(text: str, name: str, separator: str = ",") -> Iterator[tuple[int, list[str]]]:
    """The header and the rows with the line each ends on; a row that is ragged raises GatewiseError."""
    return rows_of(io.StringIO(text), name, separator=separator)


def rows_of(
    lines: Iterable[str], name: str, width: int = 0, before: int = 0, separator: str = ","
) -> Iterator[tuple[int, list[str]]]:
    """As `_lines`; with a width the lines are rows that follow on a header and `before` lines."""
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for row in reader:
            if not width and not row:
                continue  # blank lines before the header
            fields = row or [""] * (width == 1)
            width = width or len(fields)
            if len(fields) != width:
                mark = "a comma" if separator == "," else repr(separator)
                raise GatewiseError(
                    f"{name}, line {before + reader.line_num}: {len(fields)} fields where the header has {width}; "
                    f"mend the line, and quote a field that contains {mark}"
                )
            yield before + reader.line_num, fields
    except csv.Error as error:
        raise GatewiseError(f"{name}, line {before + reader.line_num}: {error}; mend the quotes") from None
