"""CSV files part by part: the same rows as the whole file gives, each field still the text that it is.

What a column holds is not guessed from a part of it: the preprocessing of a model knows which are numbers.
"""

import io
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import polars as pl

from gatewise.data.columns import selected, split_target
from gatewise.data.read_options import Form
from gatewise.data.readers.csv import MARK, blanks, check_text, fields_of, header_of, quoted, rows_of, unquoted
from gatewise.data.readers.csv_header import check_header, check_separator, generated, numbered, with_row_names
from gatewise.data.readers.quoted_texts import without_bare_gaps
from gatewise.data.readers.text_files import open_text
from gatewise.data.records import VALUES, Records
from gatewise.data.unlabelled import labelled
from gatewise.errors import GatewiseError

DEFAULT = Form()
LOOKED_AT = 10  # lines that tell the separator


def stream_csv(
    path: Path,
    target: str | None,
    missing: Sequence[str],
    require_target: bool,
    columns: Sequence[str] | None,
    form: Form = DEFAULT,
    values: int = VALUES,
) -> Iterator[Records]:
    """The rows of a CSV file, written as `form` says, in parts of about so many values; every feature column is String.

    Of the feature columns only `columns` are kept, where the file has them all. Raises GatewiseError for a file that
    is not such a table, naming the line, when it comes there.
    """
    name, found = str(path), False
    for frame, numbers in _parts(path, values, target, form):
        if not found:
            target = numbered(target, frame.width) if form.header is False else target
            check_header(frame, name, form)
        found = True
        features, labels = split_target(frame, target, require_target, name)
        records = Records(
            *(selected(features, columns), None, name),
            missing=tuple(missing),
            missing_numbers=form.missing_numbers,
            numbers=numbers,
            unit="line",
            decimal=form.decimal,
            reading=form.reading,
        )
        if labels is not None and require_target:
            records = labelled(records, labels, form, records.place, whole=False)
        yield records
    if not found:
        raise GatewiseError(f"{name}: a header and no rows; add rows below it")


def _parts(path: Path, values: int, target: str | None, form: Form) -> Iterator[tuple[pl.DataFrame, Sequence[int]]]:
    """The rows, part by part, with the line that each ends on."""
    name, separator = str(path), form.separator_of(str(path))
    with open_text(path, form.encoding) as file:
        header, start, lines = _begun(_checked(file, name), name, target, form)
        width = len(header)
        if width > 1:  # with one column blank lines at the end are missing values
            lines = _without_blank_end(lines, blanks(separator))
        size = max(1, values // width)
        while part := list(islice(lines, size)):
            if any('"' in line for line in part):
                rows = rows_of(chain(part, lines), name, width, start, separator)
                while several := list(islice(rows, size)):
                    yield quoted(header, [fields for _, fields in several]), [number for number, _ in several]
                return
            yield _unquoted_part(part, header, name, start, separator), range(start + 1, start + 1 + len(part))
            start += len(part)


def _begun(lines: Iterator[str], name: str, target: str | None, form: Form) -> tuple[list[str], int, Iterator[str]]:
    """The names of the columns, how many lines are before the first row, and the lines from there."""
    separator = form.separator_of(name)
    looked_at = [line.removeprefix(MARK) if i == 0 else line for i, line in enumerate(islice(lines, LOOKED_AT))]
    check_separator("".join(looked_at), form, name)
    if form.header is not False:
        looked_at = list(io.StringIO(with_row_names("".join(looked_at), separator)))
    lines = chain(looked_at, lines)
    if form.header is not False and form.reading > 1:
        lines = without_bare_gaps(lines, separator)
    taken: list[str] = []
    first = next(rows_of(_noted(lines, taken), name, separator=separator), None)
    fields = fields_of(first, name)
    if form.header is not False:
        return header_of(fields, name), len(taken), lines
    width = len(fields)
    before = next(i for i, line in enumerate(taken) if line.strip("\r\n"))  # blank lines
    return generated(width, numbered(target, width), form.features, name), before, chain(taken[before:], lines)


def _noted(lines: Iterator[str], taken: list[str]) -> Iterator[str]:
    for line in lines:
        taken.append(line)
        yield line


def _checked(file: Iterator[str], name: str) -> Iterator[str]:
    for line in file:
        check_text(line, name)
        yield line


def _without_blank_end(lines: Iterator[str], blank: str) -> Iterator[str]:
    held: list[str] = []  # a line and the blank ones after it
    for line in lines:
        if line.strip(blank):
            yield from held
            held.clear()
        held.append(line)
    if held and held[0].strip(blank):
        yield held[0].rstrip(blank)


def _unquoted_part(lines: list[str], header: list[str], name: str, before: int, separator: str) -> pl.DataFrame:
    width = len(header)
    head = separator.join(f"c{i}" for i in range(width))  # the real one may hold quotes
    text = "".join([head, "\n", *lines])
    return unquoted(header, text, name, lambda: rows_of(lines, name, width, before, separator), separator)
