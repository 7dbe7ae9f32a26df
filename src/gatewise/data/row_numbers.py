"""Columns that number or name the rows, as pandas, R and Arrow write them beside a table: they tell nothing of it."""

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import takewhile

import polars as pl

INDEX = re.compile(r"__index_level_\d+__$")
"""How pandas calls an index that has no name, in Parquet files."""
UNNAMED = re.compile(r"Unnamed: \d+(\.\d+)*$")
"""How pandas calls a column without a name that it has read from a CSV file."""


def row_numbers(frame: pl.DataFrame) -> list[str]:
    """The columns that number the rows: pandas' indices, and the first columns that have no name and mark each row.

    A column without a name marks each row where every value is there, all are different, and they are whole numbers or
    texts, as the row names that R writes. One with numbers that repeat, or with dates, is no such column.
    """
    indices = [name for name in frame.columns if INDEX.match(name)]
    return indices + without_names(frame.columns, lambda name: _marks_each(frame[name]))


def without_names(columns: Sequence[str], marks_each: Callable[[str], bool]) -> list[str]:
    """The first of the columns that have no name, as long as each of them marks the rows."""
    return list(takewhile(lambda name: UNNAMED.match(name) and marks_each(name), columns))


def _marks_each(column: pl.Series) -> bool:
    if column.null_count() or column.n_unique() < len(column):
        return False
    if column.dtype == pl.String:
        return True
    return column.dtype.is_numeric() and bool((column == column.round()).all())


def index_columns(metadata: Mapping[bytes, bytes] | None, names: Collection[str]) -> list[str]:
    """The columns of a Parquet file that were an index of pandas, by what pandas has written into the file."""
    try:
        told = json.loads((metadata or {})[b"pandas"])["index_columns"]
        indices = {name for name in told if isinstance(name, str)}
    except (KeyError, TypeError, ValueError, RecursionError):
        indices = set()
    return [name for name in names if name in indices or INDEX.match(name)]


def unnamed(position: int, names: Collection[str]) -> str:
    """What a column without a name is called, as pandas calls it: by its position, and by no name that is there."""
    name = first = f"Unnamed: {position}"
    more = 0
    while name in names:
        more += 1
        name = f"{first}.{more}"
    return name
