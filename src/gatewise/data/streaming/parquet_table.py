"""A table in Parquet files that stays on disk: its row groups, and the rows of one of them at a time."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from gatewise.data.columns import check_as_numbers, label_text, strip_missing, without
from gatewise.data.number_format import FormatEvidence, NumberFormat
from gatewise.data.read_options import Form
from gatewise.data.readers.parquet_files import BUFFER, columns_of, files_of, frame_of, opened_file
from gatewise.data.readings import Place, Reading, reading_of, reading_of_type, readings_of_durations
from gatewise.data.records import VALUES
from gatewise.data.text_types import TypeEvidence
from gatewise.data.unlabelled import LINES, Target, TargetEvidence, absent_rows, check_unlabelled, further_target
from gatewise.errors import GatewiseError

DEFAULT = Form()
LABELS = 2**16
"""Labels that are read at a time, where they are all that is read."""
TEXTS = (pl.Categorical, pl.Enum)
MOST_ROWS = 10**8
"""Of a row group: which of them are of a part takes some bytes each."""


@dataclass(frozen=True)
class RowGroup:
    """A row group.

    Attributes:
        file: that it is in.
        group: its number there.
        start: the place of its first row among all rows of the table, from 0.
        rows: how many it has.
    """

    file: Path
    group: int
    start: int
    rows: int


@dataclass(frozen=True, eq=False)
class StoredTable:
    """A Parquet file, or a folder of them, of which only what is asked for is read.

    Attributes:
        path: of the file or folder.
        columns: of the features, by name.
        targets: columns of the labels.
        missing: the texts that are missing values.
        row_groups: the row groups that have rows, in the order of the files' names.
        row_numbers: the columns that were an index of pandas.
        form: how values are read.
        texts: the feature columns of text.
        durations: how those of durations are read.
    """

    path: Path
    columns: list[str]
    targets: list[str]
    missing: tuple[str, ...]
    row_groups: list[RowGroup]
    row_numbers: tuple[str, ...] = ()
    form: Form = DEFAULT
    texts: tuple[str, ...] = ()
    durations: Mapping[str, Reading] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        path: str | Path,
        target: str | None,
        missing: Sequence[str],
        form: Form = DEFAULT,
        drop: Collection[str] = (),
    ) -> "StoredTable":
        """Look at the columns and row groups of all files; of those in `drop` at their names alone.

        Raises:
            GatewiseError: for files that cannot be read or whose columns differ, a target that is not there, types that
                cannot be used, and where there are no rows.
        """
        path = Path(path)
        files = files_of(path)
        columns, targets, indices = columns_of(files, target, require_target=True, drop=drop)
        check_as_numbers([*columns, *targets], form, str(path))
        with opened_file(files[0]) as opened:
            looked_at = [name for name in columns if name not in drop]
            schema = frame_of(opened.schema_arrow.empty_table().select(looked_at), looked_at).schema
        kinds = (pl.String, *TEXTS) if form.reading > 1 else (pl.String,)
        texts = tuple(name for name, kind in schema.items() if kind in kinds)
        durations = readings_of_durations(schema, form)
        row_groups, start = [], 0
        for file in files:
            with opened_file(file) as opened:
                for group in range(opened.metadata.num_row_groups):
                    rows = opened.metadata.row_group(group).num_rows
                    if not 0 <= rows <= MOST_ROWS:
                        raise GatewiseError(
                            f"{file}: row group {group + 1} has {rows} rows by the footer; write it again, in row "
                            f"groups of at most {MOST_ROWS}"
                        )
                    if rows:
                        row_groups.append(RowGroup(file, group, start, rows))
                        start += rows
        if not row_groups:
            raise GatewiseError(f"{path}: no rows; give a table with rows")
        numbering = tuple(indices) if form.reading > 1 else ()
        return cls(path, columns, targets, tuple(missing), row_groups, numbering, form, texts, durations)

    def __len__(self) -> int:
        return self.row_groups[-1].start + self.row_groups[-1].rows

    def place(self, row: int) -> str:
        """The words for a row, counted from 0 among all rows."""
        return f"{self.path}, row {row + 1}"

    @cached_property
    def readings(self) -> dict[str, Reading]:
        """How its columns of text are read, by one pass over them.

        Raises:
            GatewiseError: as `gatewise.data.columns.typed` does.
        """
        known = self.form.formats
        if known is not None:
            found = {name: Reading(format) for name in self.texts if (format := known.get(name)) is not None}
            return {**self.durations, **found}
        evidence = {name: FormatEvidence(self.form.decimal) for name in self.texts}
        types = {name: TypeEvidence(self.form.date_format) for name in self.texts}
        for frame, places in self._all(self.texts):
            for name in self.texts:
                values = without(strip_missing(frame[name], self.missing), self.form.missing_numbers)
                evidence[name].add(values, int(places[0]))
                types[name].add(values)
        found = dict(self.durations)
        for name, each in evidence.items():
            reading = None if name in self.form.as_numbers else reading_of_type(types[name], self.form.decimal)
            if reading is None or reading.type is None:
                number = reading_of(name, len(self), each, self.form, self.missing, self.place)
                reading = reading if number is None else number
            found |= {} if reading is None else {name: reading}
        return found

    @property
    def formats(self) -> dict[str, NumberFormat | None]:
        """How the numbers of its columns of text are written; None of columns that are of no numbers."""
        others = {name: None for name in self.texts if name not in self.readings}
        return others | {name: reading.format for name, reading in self.readings.items()}

    @cached_property
    def target_readings(self) -> dict[str, Target]:
        """How the columns of the target are read, by one pass over them.

        Raises:
            GatewiseError: for a type that is no label, and as `gatewise.data.unlabelled.labelled` does.
        """
        if self.form.classes is not None:
            with opened_file(self.row_groups[0].file) as opened:
                columns = frame_of(opened.schema_arrow.empty_table().select(self.targets), self.targets)
            return {each.name: further_target(each, self.form, self.missing) for each in columns.iter_columns()}
        evidence: dict[str, TargetEvidence] = {}
        for frame, places in self._all(self.targets):
            for column in frame.iter_columns():
                texts = label_text(column, self._later(places))
                evidence.setdefault(column.name, TargetEvidence(column, self.form, self.missing)).add(texts)
        return {name: each.result(self.place) for name, each in evidence.items()}

    @cached_property
    def absent(self) -> dict[int, np.ndarray]:
        """For the row groups in which a row has no label, by their first row: which do not, as bits.

        Raises:
            GatewiseError: for rows without a label where they are an error, and where no row has one.
        """
        return self._labels[0]

    @cached_property
    def unlabelled(self) -> dict[str, int]:
        """How many rows have no label, by what stands there."""
        return self._labels[1]

    @cached_property
    def _labels(self) -> tuple[dict[int, np.ndarray], dict[str, int]]:
        counts: Counter[str] = Counter()
        found: dict[int, np.ndarray] = {}
        first: list[int] = []
        for row_group in self.row_groups:
            masks = []
            for frame, places in self.read(row_group, self.targets, np.ones(row_group.rows, dtype=bool), LABELS):
                texts = [label_text(column, self._later(places)) for column in frame.iter_columns()]
                absent, here = absent_rows(texts, [self.target_readings[text.name] for text in texts])
                counts.update(here)
                masks.append(absent)
                first += places[absent][:LINES].tolist() if len(first) < LINES else []
            if (absent := np.concatenate(masks)).any():
                found[row_group.start] = np.packbits(absent)
        check_unlabelled(str(self.path), counts, len(self), first, self.place, self.form)
        return found, dict(counts.most_common())

    def labelled(self, row_group: RowGroup) -> np.ndarray:
        """Which rows of a row group have a label, bool."""
        if (bits := self.absent.get(row_group.start)) is None:
            return np.ones(row_group.rows, dtype=bool)
        return np.unpackbits(bits, count=row_group.rows) == 0

    def _all(self, columns: Sequence[str]) -> Iterator[tuple[pl.DataFrame, np.ndarray]]:
        if columns:
            for row_group in self.row_groups:
                yield from self.read(row_group, columns, np.ones(row_group.rows, dtype=bool))

    def _later(self, places: np.ndarray) -> Place:
        return lambda row: self.place(int(places[row]))

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over the bytes of the files, in the order of their names."""
        whole = hashlib.sha256()
        for file in files_of(self.path):
            try:
                with file.open("rb") as opened:
                    whole.update(hashlib.file_digest(opened, "sha256").digest())
            except OSError as error:
                raise GatewiseError(f"{file}: cannot be read ({error.strerror}); check the path") from None
        return whole.hexdigest()

    def read(
        self, row_group: RowGroup, columns: Sequence[str], wanted: np.ndarray, values: int = VALUES
    ) -> Iterator[tuple[pl.DataFrame, np.ndarray]]:
        """The rows of a row group that are wanted, in tables of about so many values, with their places.

        Args:
            row_group: one of the table's.
            columns: of features and targets.
            wanted: which of its rows, bool `[rows]`.
            values: how many values are read at a time.

        Raises:
            GatewiseError: for a file that is damaged, or not what it was.
        """
        if not wanted.any():
            return
        done = 0
        with opened_file(
            row_group.file, BUFFER
        ) as opened:  # buffered, since a column would be read at once, however long
            about = opened.metadata
            if row_group.group >= about.num_row_groups or about.row_group(row_group.group).num_rows != row_group.rows:
                raise GatewiseError(
                    f"{row_group.file} has changed while it was used; leave it as it is until training ends"
                )
            size = max(1, values // len(columns))
            for batch in opened.iter_batches(size, row_groups=[row_group.group], columns=list(columns)):
                chosen = wanted[done : done + len(batch)]
                if chosen.any():
                    frame = frame_of(batch, columns).filter(pl.Series(chosen))
                    yield _without_categories(frame), row_group.start + done + np.flatnonzero(chosen)
                done += len(batch)
        if done != row_group.rows:
            raise GatewiseError(
                f"{row_group.file}: row group {row_group.group + 1} has {done} rows, and "
                f"{row_group.rows} by the footer; the file is damaged, write it again"
            )


def _without_categories(frame: pl.DataFrame) -> pl.DataFrame:
    """The same texts as text: categories are numbered otherwise in each file."""
    return frame.with_columns(pl.col(name).cast(pl.String) for name, kind in frame.schema.items() if kind in TEXTS)


def values_in(path: str | Path) -> int:
    """Rows times columns of a Parquet file, or of all in a folder, as their footers say."""
    total = 0
    for file in files_of(Path(path)):
        with opened_file(file) as opened:
            total += opened.metadata.num_rows * len(opened.schema_arrow)
    return total
