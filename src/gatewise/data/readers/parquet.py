"""Parquet files, one or a folder of them: numbers stay numbers and text stays text."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import polars as pl
import pyarrow
import pyarrow.parquet

from gatewise.data.columns import check_as_numbers, plain, selected, split_target, typed_columns
from gatewise.data.read_options import Form
from gatewise.data.readers.parquet_files import (
    BUFFER,
    columns_of,
    difference,
    files_of,
    frame_of,
    opened_file,
    wanted_of,
)
from gatewise.data.readings import readings_of_durations
from gatewise.data.records import VALUES, Records
from gatewise.data.row_numbers import row_numbers
from gatewise.data.unlabelled import labelled, with_labels
from gatewise.errors import GatewiseError

DEFAULT = Form()


def read_parquet(
    path: Path,
    target: str | None,
    missing: Sequence[str],
    require_target: bool,
    form: Form = DEFAULT,
    columns: Sequence[str] | None = None,
    drop: Collection[str] = (),
) -> Records:
    """The rows of a Parquet file, or of a folder's `.parquet` files in the order of their names.

    Numbers and booleans become Float64, text is stripped, categories are text, and a column of text that holds numbers
    or dates becomes such, as in a CSV file. Of the feature columns only `columns` are read, where all are there, and
    those in `drop` are not: they have no values. Files in sub-folders and with other endings are left out. Raises
    GatewiseError for a file that cannot be read, for files whose columns differ, and for columns of types that are
    neither numbers nor text nor dates.
    """
    parts, targets, starts, schema, indices = [], [], {}, None, []
    for file in files_of(path):
        with opened_file(file) as opened:
            wanted = wanted_of(opened.schema_arrow, target, columns, drop)
            frame = frame_of(opened.read(columns=wanted.looked_at), wanted.names)
        indices = indices if schema else wanted.indices
        schema = schema or frame.schema
        if frame.schema != schema:
            raise GatewiseError(difference(schema, frame.schema, file))
        if frame.is_empty():
            continue

        def place(row: int, file: Path = file) -> str:
            return f"{file}, row {row + 1}"

        features, known = split_target(frame, target, require_target, str(file))
        features = selected(features, columns)
        starts[file] = sum(map(len, parts))
        parts.append(
            pl.DataFrame([plain(feature, missing, place, form.reading) for feature in features.iter_columns()])
        )
        targets += [] if known is None else [known]
    if not parts or schema is None:
        raise GatewiseError(f"{path}: no rows; give a table with rows")

    def place_of_all(row: int) -> str:
        file = max((file for file in starts if starts[file] <= row), key=starts.__getitem__)
        return f"{file}, row {row - starts[file] + 1}"

    check_as_numbers(schema.names(), form, str(path))
    kinds = (pl.String, pl.Categorical, pl.Enum) if form.reading > 1 else (pl.String,)
    texts = [name for name, kind in schema.items() if kind in kinds]
    if form.formats is not None:
        texts = [name for name in texts if name in form.formats]
    features, readings = typed_columns(pl.concat(parts), texts, form, missing, place_of_all)
    records = Records(
        features=features,
        labels=None,
        name=str(path),
        missing=tuple(missing),
        missing_numbers=form.missing_numbers,
        decimal=form.decimal,
        reading=form.reading,
        date_format=form.date_format,
        readings=readings_of_durations(schema, form) | readings,
        row_numbers=tuple(dict.fromkeys([*indices, *row_numbers(features)])) if form.reading > 1 else (),
    )
    return with_labels(records, pl.concat(targets) if targets else None, form, place_of_all, require_target)


def stream_parquet(
    path: Path,
    target: str | None,
    missing: Sequence[str],
    require_target: bool,
    columns: Sequence[str] | None,
    form: Form = DEFAULT,
    values: int = VALUES,
) -> Iterator[Records]:
    """The rows as `read_parquet` has them, in parts of about so many values, features as the file has them.

    Of the feature columns only `columns` are read, where the files have them all. The columns of all files are looked
    at before the first row. Raises GatewiseError as `read_parquet` does, but for values in columns that are not read.
    """
    files = files_of(path)
    names, targets, _ = columns_of(files, target, require_target, columns)
    if columns is None or not set(columns) <= set(names):
        columns = names
    wanted = [*columns, *targets]
    rows, found = max(1, values // max(1, len(wanted))), False
    for file in files:
        start = 1
        # buffered, since a column of a row group would be read at once, however long
        with opened_file(file, BUFFER) as opened:
            for batch in _batches(opened, rows, wanted):
                found = True
                part = frame_of(batch, wanted)
                numbers = range(start, start + len(part))
                start += len(part)
                records = Records(
                    *(part.select(columns), None, str(file)),
                    missing=tuple(missing),
                    missing_numbers=form.missing_numbers,
                    numbers=numbers,
                    decimal=form.decimal,
                    reading=form.reading,
                )
                if targets:
                    records = labelled(records, part.select(targets), form, records.place, whole=False)
                yield records
    if not found:
        raise GatewiseError(f"{path}: no rows; give a table with rows")


def _batches(file: pyarrow.parquet.ParquetFile, rows: int, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
    """Batches of at most so many rows, from few row groups at a time."""
    # one reader for all of them holds the buffers of every group until the end of the file
    groups, held = [], 0
    for group in range(file.metadata.num_row_groups):
        groups.append(group)
        held += file.metadata.row_group(group).num_rows
        if held >= rows or group == file.metadata.num_row_groups - 1:
            yield from file.iter_batches(rows, row_groups=groups, columns=columns)
            groups, held = [], 0
