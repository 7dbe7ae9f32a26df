"""CSV files part by part: the same rows as the whole file gives, each field still the text that it is.

What a column holds is not guessed from a part of it: the preprocessing of a model knows which are numbers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import polars as pl

from gatewise.data.columns import label_text, split_target
from gatewise.data.csv_table import check_text, header_of, quoted, rows_of, unquoted
from gatewise.data.records import VALUES, Records
from gatewise.errors import GatewiseError


def stream_csv(
    path: Path,
    target: str | None,
    missing: Sequence[str],
    require_target: bool,
    columns: Sequence[str] | None,
    values: int = VALUES,
) -> Iterator[Records]:
    """The rows of a comma-separated file in parts of about so many values; every feature column is String.

    Of the feature columns only `columns` are kept, where the file has them all. Raises GatewiseError for a file that
    is not such a table, naming the line, when it comes there.
    """
    name, found = str(path), False
    for frame, numbers in _parts(path, values):
        found = True
        features, column = split_target(frame, target, require_target, name)
        if columns is not None and set(columns) <= set(features.columns):
            features = features.select(columns)
        records = Records(features, None, name, missing=tuple(missing), numbers=numbers, unit="line")
        if column is not None and require_target:
            records = replace(records, labels=label_text(column, records.place), target=target)
        yield records
    if not found:
        raise GatewiseError(f"{name}: a header and no rows; add rows below it")


def _parts(path: Path, values: int) -> Iterator[tuple[pl.DataFrame, Sequence[int]]]:
    """The rows, part by part, with the line that each ends on."""
    name = str(path)
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = _checked(file, name)
            first = next(rows_of(lines, name), None)
            header = header_of(first, name)
            start, width = first[0] if first else 0, len(header)
            if width > 1:  # with one column blank lines at the end are missing values
                lines = _without_blank_end(lines)
            size = max(1, values // width)
            while part := list(islice(lines, size)):
                if any('"' in line for line in part):
                    yield from _quoted_parts(chain(part, lines), header, name, size, start)
                    return
                yield _unquoted_part(part, header, name, start), range(start + 1, start + 1 + len(part))
                start += len(part)
    except UnicodeDecodeError:
        raise GatewiseError(f"{path}, line {_undecodable(path)}: not UTF-8 text; save the file as UTF-8") from None
    except OSError as error:
        raise GatewiseError(f"{path}: cannot be read ({error.strerror}); check the path") from None


def _checked(file: Iterator[str], name: str) -> Iterator[str]:
    for line in file:
        check_text(line, name)
        yield line


def _without_blank_end(lines: Iterator[str]) -> Iterator[str]:
    held: list[str] = []  # a line and the blank ones after it
    for line in lines:
        if not line.isspace():
            yield from held
            held.clear()
        held.append(line)
    if held and not held[0].isspace():
        yield held[0].rstrip()


def _unquoted_part(lines: list[str], header: list[str], name: str, before: int) -> pl.DataFrame:
    width = len(header)
    head = ",".join(f"c{i}" for i in range(width))  # the real one may hold quotes
    text = "".join([head, "\n", *lines])
    return unquoted(header, text, name, lambda: rows_of(lines, name, width, before))


def _quoted_parts(
    lines: Iterator[str], header: list[str], name: str, size: int, before: int
) -> Iterator[tuple[pl.DataFrame, Sequence[int]]]:
    rows = rows_of(lines, name, len(header), before)
    while part := list(islice(rows, size)):
        yield quoted(header, [fields for _, fields in part]), [number for number, _ in part]


def _undecodable(path: Path) -> int:
    """The first line that is not UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1
