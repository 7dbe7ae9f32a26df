"""Rows as they were read, before any preprocessing."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
import polars.selectors as cs

from gatewise.data.missing_values import MISSING, MISSING_NUMBERS
from gatewise.data.number_format import NumberFormat
from gatewise.data.read_options import READING
from gatewise.data.readings import Reading
from gatewise.data.target_columns import names_of
from gatewise.errors import GatewiseError
from gatewise.wording import listing

if TYPE_CHECKING:
    from gatewise.data.unlabelled import Target

VALUES = 2**20  # of a part, where rows are streamed: 8 MiB


@dataclass(frozen=True, eq=False)
class Records:
    """Rows as read: a table (columns of Float64, String, Datetime or Time) or an array [N, ...] of numbers.

    `labels` are str objects [N] as they were written, or [N, L] where the target is several columns, `name` is the
    source for messages, `target` the label column's name where there was one (of several all, as
    `target_names.joined` writes them), `truth` the known z (int64 [N]) of synthetic data, and `missing` the texts that
    were read as missing values, `missing_numbers` those besides in columns of numbers. `note` says how `images` were
    read. Rows that are part of a file are called by their `numbers` there [N], of rows or of lines as `unit` says;
    `decimal` is the mark in numbers that are text. `readings` say how columns of text were read, `targets` how those of
    the target were, and `unlabelled` how many rows were left out as they have no label, by what stood there.
    `reading` and `date_format` are as in `Form`. `row_numbers` are the columns that number or name the rows
    (`gatewise.data.row_numbers`).
    """

    features: pl.DataFrame | np.ndarray
    labels: np.ndarray | None
    name: str
    target: str | None = None
    truth: np.ndarray | None = None
    missing: tuple[str, ...] = MISSING
    images: bool = False
    note: str | None = None
    numbers: Sequence[int] | None = None
    unit: str = "row"
    decimal: str | None = None
    row_numbers: tuple[str, ...] = ()
    missing_numbers: tuple[str, ...] = MISSING_NUMBERS
    reading: int = READING
    date_format: str | None = None
    readings: Mapping[str, Reading] = field(default_factory=dict)
    targets: "Mapping[str, Target]" = field(default_factory=dict)
    unlabelled: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.features)

    @property
    def is_table(self) -> bool:
        """Whether the features are a table, and not an array."""
        return isinstance(self.features, pl.DataFrame)

    @property
    def columns(self) -> list[str] | None:
        """The feature columns' names in order; None for an array."""
        return self.features.columns if isinstance(self.features, pl.DataFrame) else None

    @property
    def formats(self) -> dict[str, NumberFormat | None]:
        """How the numbers of columns of text are written, by the column; None of columns that are of no numbers."""
        frame = self.features
        others = {} if not isinstance(frame, pl.DataFrame) else dict.fromkeys(frame.select(~cs.numeric()).columns)
        found = {name: reading.format for name, reading in self.readings.items() if reading.format is not None}
        return others | found

    def place(self, row: int) -> str:
        """The words for a row counted from 0, for messages: "adult.csv, row 1" is the first."""
        return f"{self.name}, {self.unit} {row + 1 if self.numbers is None else self.numbers[row]}"

    def known_labels(self) -> np.ndarray:
        """The labels [N], where they are needed; raises GatewiseError where there are none, or several a row."""
        labels = self.known_label_sets()
        if labels.shape[1] > 1:
            raise GatewiseError(
                f"{self.name}: {labels.shape[1]} labels a row ({listing(self.label_names, 5)}), and one is needed; "
                "several at once are for the head bernoulli"
            )
        return labels[:, 0]

    def known_label_sets(self) -> np.ndarray:
        """The labels [N, L], of one column too; raises GatewiseError where there are none."""
        if self.labels is None:
            raise GatewiseError(f"{self.name}: no labels, and they are needed here; give rows with their labels")
        return self.labels if self.labels.ndim == 2 else self.labels[:, None]

    @property
    def label_names(self) -> list[str]:
        """What each column of the labels is called: y0, y1, … where they have no names."""
        if self.target is not None:
            return names_of(self.target)
        return [f"y{i}" for i in range(1 if self.labels is None or self.labels.ndim == 1 else self.labels.shape[1])]

    def take(self, rows: np.ndarray) -> "Records":
        """The rows at these positions (int [M]), in that order."""
        return replace(
            self,
            features=self.features[rows],
            labels=None if self.labels is None else self.labels[rows],
            truth=None if self.truth is None else self.truth[rows],
            numbers=rows + 1 if self.numbers is None else np.asarray(self.numbers)[rows],
        )

    def hash(self) -> str:
        """SHA-256 (hex) over column names, types, values and labels: equal for equal rows from any file."""
        digest = hashlib.sha256()
        for part in self._parts():
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        return digest.hexdigest()

    def _parts(self) -> Iterable[bytes | memoryview]:
        if isinstance(self.features, pl.DataFrame):
            for column in self.features.iter_columns():
                yield f"{column.name}\0{column.dtype}".encode()
                if column.dtype == pl.String:
                    yield from _text_parts(column.to_list())
                elif column.dtype == pl.Float64:
                    yield column.fill_null(float("nan")).to_numpy().tobytes()
                else:
                    yield column.to_physical().fill_null(-(2**63)).to_numpy().tobytes()
        else:
            # one byte order and one memory order, whatever the file had
            array = np.ascontiguousarray(self.features, dtype=self.features.dtype.newbyteorder("<"))
            yield f"{array.dtype.str} {array.shape}".encode()
            yield array.reshape(-1).view(np.uint8).data
        yield from _text_parts([] if self.labels is None else self.labels.ravel().tolist())


class Source(NamedTuple):
    """What a source holds: its rows, and the rows of its own test part where it has one."""

    records: Records
    test: Records | None = None


def _text_parts(values: Sequence[str | None]) -> Iterable[bytes]:
    """Lengths, then characters: without the lengths ("ab", "c") and ("a", "bc") would be the same."""
    encoded = [None if value is None else value.encode() for value in values]
    yield np.array([-1 if value is None else len(value) for value in encoded], dtype="<i8").tobytes()
    yield b"".join(value for value in encoded if value is not None)
