"""The rows of a run: read in the form that the configuration says, and split."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from gatewise.config.run import RunConfig
from gatewise.data import BUNDLED, Classes, Form, Records, Source, StoredRows, read, split
from gatewise.data.labels import spelled
from gatewise.data.number_format import PLAIN, NumberFormat
from gatewise.data.rare_classes import like_trained, without_rare
from gatewise.data.readers.read import kind_of
from gatewise.data.splits import TooRare
from gatewise.data.streaming.parquet_table import StoredTable, values_in
from gatewise.data.streaming.records import SplitByPlace
from gatewise.data.target_columns import joined
from gatewise.data.targets import MOST_LABELS, check_mixed, guess_by_counts, guess_head, number_format_of
from gatewise.errors import GatewiseError
from gatewise.models.task import KINDS
from gatewise.wording import shown

MOST_VALUES = 100_000_000
"""Rows times columns of Parquet files that are read into memory, where nothing else is said."""


@dataclass(frozen=True)
class Parts:
    """The rows of a run, apart, in memory or on disk; test is None where none were kept.

    `head` is what the target is, and `guessed` says why where that could be otherwise, `rare` what became of
    classes with too few rows.
    """

    train: Records | StoredRows
    validation: Records | StoredRows
    test: Records | StoredRows | None
    whole: Records | StoredRows
    head: str = "categorical"
    guessed: str | None = None
    rare: str | None = None


def read_parts(config: RunConfig) -> Parts:
    """Read the data of a run and split them as its seed says; what is streamed stays on disk.

    Raises:
        GatewiseError: for data that cannot be read or split.
    """
    if is_streamed(config):
        return stored_parts(config)
    source = read(config.data, config.target, missing=config.missing, form=config.form, drop=config.drop)
    rows, test = source.records, source.test
    head, guessed, rare = config.head, None, None
    parts = 2 if config.test is not None or test is not None or not config.test_size else 3
    if head is None:
        check_mixed(rows.name, rows.targets)
        head, guessed = guess_head(rows.known_label_sets(), number_format_of(rows.targets) or PLAIN)
    if head in KINDS:
        described = KINDS[head].described(head, [rows], [rows])  # what does not fit is refused first
        labels = np.zeros(len(rows), dtype=int)  # they have no classes to be split by
        names = [value for label in described.get("labels", []) for value in label["values"]]
    else:
        if config.rare_classes != "error":
            rows, rare = without_rare(rows, config.rare_classes, parts)
        labels = rows.known_labels()
        names = Classes.from_labels(labels, rows.name).names
    if config.test is not None:
        form = form_of_rows(config, len(rows.columns or []), rows.features.shape[1:])
        form = with_known(form, rows.formats, names, number_format_of(rows.targets))
        further = read(config.test, rows.target or config.target, missing=config.missing, form=form, drop=config.drop)
        test = asked_for(further)
    if test is not None and rare is not None:
        test = like_trained(test, names, config.rare_classes)
    size = 0.0 if test is not None else config.test_size
    try:
        kept = split(labels, test_size=size, validation_size=config.validation_size, seed=config.seed)
    except TooRare:
        without_rare(rows, "error", parts)  # says it of all of them
        raise
    if test is None and len(kept.test):
        test = rows.take(kept.test)
    return Parts(rows.take(kept.train), rows.take(kept.validation), test, rows, head, guessed, rare)


def stored_parts(config: RunConfig) -> Parts:
    """The data of a run that are streamed: nothing is read of them but the labels.

    Raises:
        GatewiseError: for data or a configuration that cannot be streamed.
    """
    if config.rare_classes != "error":
        raise GatewiseError("rare_classes wants all rows in memory, and these are streamed; leave it out")
    if config.expert_parallel > 1:
        raise GatewiseError(
            "expert_parallel does not take rows that are streamed: the processes would have different numbers of "
            "validation batches; give stream = false, or expert_parallel = 1 and data parallel processes"
        )
    table = StoredTable.open(config.data, config.target, config.missing, config.form, config.drop)
    split = SplitByPlace(0.0 if config.test is not None else config.test_size, config.validation_size, config.seed)
    train, validation, test = (StoredRows(table, split, part, config.seed) for part in ("train", "validation", "test"))
    for part in (train, validation):
        if not len(part):
            raise GatewiseError(f"{table.path}: no row of {len(table)} was drawn for {part.part}; give more rows")
    whole = StoredRows(table, seed=config.seed)
    head, guessed = (config.head, None) if config.head is not None else stored_guess(whole)
    if head in KINDS:
        described = KINDS[head].described(head, whole.labels(), whole.labels())
        names = [value for label in described.get("labels", []) for value in label["values"]]
    else:
        names = classes_of(whole).names
    if config.test is not None:
        form = with_known(table.form, table.formats, names, number_format_of(table.target_readings))
        test = StoredRows(table_of_test(config.test, table, form, config.drop), seed=config.seed)
    return Parts(train, validation, test if len(test) else None, whole, head, guessed)


def form_of_rows(config: RunConfig, columns: int, shape: tuple[int, ...]) -> Form:
    """How further rows are read: images as those that were trained on, a table without a header by its width.

    Args:
        config: of the run.
        columns: of its table, without the label.
        shape: of one row as read, an image's `(C, H, W)`.
    """
    form = replace(config.form, features=columns)
    if len(shape) != 3:
        return form
    return replace(form, image_size=(shape[1], shape[2]), image_mode="grey" if shape[0] == 1 else "rgb")


def with_known(
    form: Form, formats: Mapping[str, NumberFormat | None], classes: Iterable[str], target_format: NumberFormat | None
) -> Form:
    """How further rows are written, where it is known how numbers are and which labels are classes."""
    known = frozenset(classes)
    return replace(form, as_numbers=(), formats=formats, classes=known, target_format=target_format)


def asked_for(source: Source) -> Records:
    """The rows of a file that is there to be evaluated or predicted: its test rows where it has its own."""
    return source.records if source.test is None else source.test


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """So that the configuration kept in the run folder finds its files from anywhere."""
    paths = {"data": config.data, "test": config.test}
    found = {key: str(Path(path).resolve()) for key, path in paths.items() if path and path not in BUNDLED}
    if config.start_from is not None:
        found["start_from"] = str(Path(config.start_from).resolve())
    return config.model_copy(update=found)


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
