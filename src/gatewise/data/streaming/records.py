"""Rows of a table on disk: all of them, or those of one part of a split, read as they are needed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import polars as pl

from gatewise.data.columns import labels_there
from gatewise.data.readings import Reading
from gatewise.data.records import VALUES, Records
from gatewise.data.streaming.parquet_table import LABELS, RowGroup, StoredTable
from gatewise.data.target_columns import joined
from gatewise.data.targets import label_counts
from gatewise.data.unlabelled import Target
from gatewise.errors import GatewiseError

Part = Literal["train", "validation", "test"]
"""What a row is for."""


@dataclass(frozen=True)
class SplitByPlace:
    """Training, validation and test rows told apart by a draw for each place.

    A set has as many rows as chance gives it: a share p of N rows is p N, give or take √(p (1 - p) N). It is not
    stratified.

    Attributes:
        test_size: share of all rows.
        validation_size: share of the others.
        seed: of the draws.
    """

    test_size: float
    validation_size: float
    seed: int

    def of(self, part: Part, start: int, count: int) -> np.ndarray:
        """Which of `count` rows from place `start` on are of a part, bool `[count]`."""
        draws = drawn((self.seed, 0), start, count)
        if part == "test":
            return draws < self.test_size
        kept = self.test_size + (1 - self.test_size) * self.validation_size
        return draws >= kept if part == "train" else (draws >= self.test_size) & (draws < kept)


CHUNK = 8192
"""Rows of a full buffer that are taken out of it at a time."""


@dataclass(frozen=True, eq=False)
class StoredRows:
    """Rows of a table that stay on disk; what tells of them is named as in `Records`.

    Attributes:
        table: that they are of.
        split: what tells the parts apart; None where these are all rows.
        part: which of them this is.
        seed: of `sample`.
    """

    table: StoredTable
    split: SplitByPlace | None = None
    part: Part = "train"
    seed: int = 0

    images: ClassVar[bool] = False
    note: ClassVar[str | None] = None

    @property
    def name(self) -> str:
        """The source, for messages."""
        return str(self.table.path)

    @property
    def target(self) -> str:
        """The names of the target's columns, as one."""
        return joined(self.table.targets)

    @property
    def missing(self) -> tuple[str, ...]:
        """The texts that are missing values."""
        return self.table.missing

    @property
    def row_numbers(self) -> tuple[str, ...]:
        """The columns that number the rows."""
        return self.table.row_numbers

    @property
    def columns(self) -> list[str]:
        """The feature columns' names."""
        return self.table.columns

    @property
    def readings(self) -> Mapping[str, Reading]:
        """How its columns of text are read."""
        return self.table.readings

    @property
    def targets(self) -> Mapping[str, Target]:
        """How the columns of the target are read."""
        return self.table.target_readings

    @property
    def unlabelled(self) -> Mapping[str, int]:
        """How many rows of the table have no label, by what stands there; they are none of these."""
        return self.table.unlabelled

    @cached_property
    def counts(self) -> np.ndarray:
        """How many of the rows each row group of the table has, int64."""
        return np.array([self._of(row_group).sum() for row_group in self.table.row_groups])

    def __len__(self) -> int:
        return int(self.counts.sum())

    def hash(self) -> str:
        """SHA-256 (hex) over the files, whichever of their rows these are."""
        return self.table.digest

    def records(
        self, columns: Sequence[str] | None = None, *, share: tuple[int, int] = (0, 1), values: int = VALUES
    ) -> Iterator[Records]:
        """The rows in the order of the files, in parts of about so many values.

        Args:
            columns: the feature columns that are wanted; None takes all.
            share: (r, n) takes every n-th row group from row group r on.
            values: of a part.

        Raises:
            GatewiseError: for rows that cannot be used, as `gatewise.data.read` does.
        """
        first, step = share
        columns = self.columns if columns is None else columns
        for row_group in self.table.row_groups[first::step]:
            for frame, places in self.table.read(row_group, self._names(columns), self._of(row_group), values):
                yield self._records(frame, places, columns)

    def __iter__(self) -> Iterator[Records]:
        return self.records()

    def labels(self) -> Iterator[Records]:
        """The labels alone, in parts: rows without features."""
        return self.records([], values=LABELS)

    @cached_property
    def label_counts(self) -> tuple[dict[str, int], bool]:
        """How many of the rows have each label: see `gatewise.data.targets.label_counts`."""
        return label_counts(self.labels())

    def sample(self, rows: int, columns: Sequence[str] | None = None) -> Records:
        """About so many of the rows, each with the same probability, in the order of the files; all where they are few.

        Raises:
            GatewiseError: as `records` does.
        """
        columns = self.columns if columns is None else columns
        share, found = rows / max(1, len(self)), []
        for row_group in self.table.row_groups:
            chosen = self._of(row_group)
            if share < 1:
                chosen = chosen & (drawn((self.seed, 1), row_group.start, row_group.rows) < share)
            found += self.table.read(row_group, self._names(columns), chosen)
        if not found:
            raise GatewiseError(f"{self.name}: no row among those for {self.part}; give more rows")
        frames, places = zip(*found, strict=True)
        return self._records(pl.concat(frames), np.concatenate(places), columns)

    def shuffled(
        self,
        seed: int,
        buffer: int,
        columns: Sequence[str],
        own: Callable[[np.ndarray], np.ndarray] | None = None,
        skip: int = 0,
    ) -> Iterator[Records]:
        """Each of the rows once, in an order of chance, in parts of at most `CHUNK`.

        The row groups come in a random order, and fill a buffer of rows. What is in a full buffer is put into a random
        order and given away before the next rows are read. So the order follows from the seed and the table alone, and
        what is skipped need not be read.

        Args:
            seed: of the order.
            buffer: rows of the buffer.
            columns: the feature columns that are wanted.
            own: tells of numbers in the order, int64, which of them are wanted, bool; None takes all.
            skip: so many rows of the order are left out at its beginning.

        Raises:
            GatewiseError: as `records` does.
        """
        number, order = skip // buffer, np.random.default_rng([seed, 0]).permutation(len(self.table.row_groups))
        for frame, places in self._buffers([self.table.row_groups[i] for i in order], number * buffer, buffer, columns):
            turns = number * buffer + np.arange(len(frame))
            mixed = np.random.default_rng([seed, 1, number]).permutation(len(frame))
            wanted = mixed[(turns >= skip) if own is None else (turns >= skip) & own(turns)]
            for start in range(0, len(wanted), CHUNK):
                rows = wanted[start : start + CHUNK]
                yield self._records(frame[rows], places[rows], columns)
            number += 1
            del frame, places  # before the next are read

    def _buffers(
        self, row_groups: Sequence[RowGroup], skip: int, buffer: int, columns: Sequence[str]
    ) -> Iterator[tuple[pl.DataFrame, np.ndarray]]:
        """The rows of the row groups but for the first `skip`, in tables of `buffer` rows, the last of fewer."""
        held: list[tuple[pl.DataFrame, np.ndarray]] = []
        count = 0
        for row_group in row_groups:
            wanted = self._of(row_group)
            passed = min(skip, int(wanted.sum()))
            wanted[np.flatnonzero(wanted)[:passed]] = False
            skip -= passed
            for frame, places in self.table.read(row_group, self._names(columns), wanted):
                while len(frame):
                    room = buffer - count
                    held.append((frame[:room], places[:room]))
                    count += len(held[-1][1])
                    frame, places = frame[room:], places[room:]
                    if count == buffer:
                        yield _joined(held)
                        count = 0
        if held:
            yield _joined(held)

    def _of(self, row_group: RowGroup) -> np.ndarray:
        """Which rows of a row group are of this part and have a label, bool."""
        labelled = self.table.labelled(row_group)
        return labelled if self.split is None else labelled & self.split.of(self.part, row_group.start, row_group.rows)

    def _names(self, columns: Sequence[str]) -> list[str]:
        return [*columns, *self.table.targets]

    def _records(self, frame: pl.DataFrame, places: np.ndarray, columns: Sequence[str]) -> Records:
        """Rows as read, called by their numbers among all rows of the table."""
        numbers: Sequence[int] = places + 1  # pyrefly: ignore[bad-assignment]
        found = Records(
            *(frame.select(columns), None, self.name),
            target=self.target,
            missing=self.missing,
            missing_numbers=self.table.form.missing_numbers,
            numbers=numbers,
            decimal=self.table.form.decimal,
            reading=self.table.form.reading,
            date_format=self.table.form.date_format,
            readings=self.readings,
            targets=self.targets,
        )
        return replace(found, labels=labels_there(frame.select(self.table.targets), found.place))


def _joined(held: list[tuple[pl.DataFrame, np.ndarray]]) -> tuple[pl.DataFrame, np.ndarray]:
    """The tables and places as one, which are then no longer held."""
    frames, places = zip(*held, strict=True)
    held.clear()
    return pl.concat(frames), np.concatenate(places)


def some_of(rows: Records | StoredRows, count: int) -> Records:
    """Rows in memory themselves; of those on disk about so many, drawn at random."""
    return rows if isinstance(rows, Records) else rows.sample(count)


def drawn(seed: tuple[int, ...], start: int, count: int) -> np.ndarray:
    """A uniform number of each of `count` places from `start` on, float64 in [0, 1)."""
    stream = np.random.PCG64(seed)
    stream.advance(start)  # a number of float64 takes one step of it
    return np.random.Generator(stream).random(count)
