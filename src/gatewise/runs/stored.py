"""Whether the rows of a run stay on disk, and what is told of them without features."""

from collections.abc import Collection, Iterable

import numpy as np
import polars as pl

from gatewise.config.run import RunConfig
from gatewise.data import Classes, Form, Records, StoredRows
from gatewise.data.labels import spelled
from gatewise.data.number_format import PLAIN
from gatewise.data.readers.read import kind_of
from gatewise.data.streaming.parquet_table import StoredTable, values_in
from gatewise.data.target_columns import joined
from gatewise.data.targets import MOST_LABELS, check_mixed, guess_by_counts, number_format_of
from gatewise.errors import GatewiseError
from gatewise.wording import shown

MOST_VALUES = 100_000_000
"""Rows times columns of Parquet files that are read into memory, where nothing else is said."""


def is_streamed(config: RunConfig) -> bool:
    """Whether the data are streamed: Parquet files of more than `MOST_VALUES` values, or as the key `stream` says.

    Raises:
        GatewiseError: for data that are no Parquet files where `stream` is true, or that there are not.
    """
    if config.stream is False:
        return False
    if kind_of(config.data) != ".parquet":
        if config.stream:
            raise GatewiseError(f"stream = true takes a .parquet file or a folder of them, and {config.data} is none")
        return False
    return config.stream or values_in(config.data) > MOST_VALUES


def refuse_streamed(config: RunConfig, what: str) -> None:
    """Raises GatewiseError where the data are streamed, for something that wants all rows at once."""
    if is_streamed(config):
        raise GatewiseError(
            f"{what} wants all rows in memory, and those of {config.data} are streamed; set stream = false if they fit"
        )


def table_of_test(path: str, table: StoredTable, form: Form, drop: Collection[str] = ()) -> StoredTable:
    """The table of a file of test rows, written in a form, which may lack the columns in `drop`.

    Raises:
        GatewiseError: for a file that is no Parquet, or lacks a column.
    """
    if kind_of(path) != ".parquet":
        raise GatewiseError(f"test rows of data that are streamed come from Parquet files, and {path} is none")
    found = StoredTable.open(path, joined(table.targets), table.missing, form, drop)
    if lacking := [column for column in table.columns if column not in {*found.columns, *drop}]:
        raise GatewiseError(f"{path}: no column {shown(lacking[0])}, which {table.path} has; add it")
    return found


def stored_guess(whole: StoredRows) -> tuple[str, str | None]:
    """As `gatewise.data.targets.guess_head`, of rows on disk."""
    if len(whole.table.targets) > 1:
        return "bernoulli", None
    check_mixed(whole.name, whole.targets)
    counts, more = whole.label_counts
    form = number_format_of(whole.targets) or PLAIN
    return guess_by_counts(np.array([*counts]), np.array([*counts.values()]), more, form)


def classes_of(whole: Records | StoredRows) -> Classes:
    """The classes among all rows.

    Raises:
        GatewiseError: for fewer than two, or too many.
    """
    if isinstance(whole, Records):
        return Classes.from_labels(whole.known_labels(), whole.name)
    counts, more = whole.label_counts
    if more:
        raise GatewiseError(
            f"{whole.name}: the target has more than {MOST_LABELS} different labels, too many for classes; "
            "for numbers give --head gaussian"
        )
    names = spelled(pl.Series([*counts], dtype=pl.String)) if whole.table.form.reading > 1 else [*counts]
    return Classes.from_labels(np.array([*names], dtype=object), whole.name)


def targets_of(rows: Records | StoredRows) -> Iterable[Records]:
    """Rows in parts, of which only the labels are wanted."""
    return [rows] if isinstance(rows, Records) else rows.labels()
