"""Parquet files, one or a folder of them: numbers stay numbers and text stays text."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet

from gatewise.data.columns import labels_of, plain, split_target
from gatewise.data.records import VALUES, Records
from gatewise.data.target_names import joined
from gatewise.errors import GatewiseError
from gatewise.wording import shown

BUFFER = 2**16  # bytes of each column that are read ahead in streaming


def read_parquet(path: Path, target: str | None, missing: Sequence[str], require_target: bool) -> Records:
    """The rows of a Parquet file, or of a folder's `.parquet` files in the order of their names.

    Numbers become Float64, text is stripped, booleans and categories become text. Files in sub-folders and
    with other endings are left out. Raises GatewiseError for a file that cannot be read, for files whose
    columns differ, and for columns that are neither numbers nor text.
    """
    parts, labels, schema, named = [], [], None, None
    for file in _files(path):
        with _open(file) as opened:
            frame = _frame(opened.read())
        schema = schema or frame.schema
        if frame.schema != schema:
            raise GatewiseError(_difference(schema, frame.schema, file))
        if frame.is_empty():
            continue

        def place(row: int, file: Path = file) -> str:
            return f"{file}, row {row + 1}"

        features, columns = split_target(frame, target, require_target, str(file))
        parts.append(pl.DataFrame([plain(feature, missing, place) for feature in features.iter_columns()]))
        labels.append(None if columns is None else labels_of(columns, place, require_target))
        named = None if columns is None else joined(columns.columns)
    if not parts:
        raise GatewiseError(f"{path}: no rows; give a table with rows")
    known = all(part is not None for part in labels)
    return Records(
        features=pl.concat(parts),
        labels=np.concatenate(labels) if known else None,
        name=str(path),
        target=named,
        missing=tuple(missing),
    )


def stream_parquet(
    path: Path,
    target: str | None,
    missing: Sequence[str],
    require_target: bool,
    columns: Sequence[str] | None,
    values: int = VALUES,
) -> Iterator[Records]:
    """The rows as `read_parquet` has them, in parts of about so many values, features as the file has them.

    Of the feature columns only `columns` are read, where the files have them all. The columns of all files are looked
    at before the first row. Raises GatewiseError as `read_parquet` does, but for values in columns that are not read.
    """
    files = _files(path)
    names, targets = _checked(files, target, require_target)
    if columns is None or not set(columns) <= set(names):
        columns = names
    wanted = [*columns, *targets]
    rows, found = max(1, values // max(1, len(wanted))), False
    for file in files:
        start = 1
        # buffered, since a column of a row group would be read at once, however long
        with _open(file, BUFFER) as opened:
            for batch in _batches(opened, rows, wanted):
                found = True
                part = _frame(batch).select(wanted)
                numbers = range(start, start + len(part))
                start += len(part)
                records = Records(part.select(columns), None, str(file), missing=tuple(missing), numbers=numbers)
                if targets:
                    labels = labels_of(part.select(targets), records.place)
                    records = replace(records, labels=labels, target=joined(targets))
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


def _checked(files: Sequence[Path], target: str | None, require_target: bool) -> tuple[list[str], list[str]]:
    """The names of the feature columns and of those of a target that is required.

    Raises GatewiseError for files whose columns differ, and for types that cannot be used.
    """
    first = None
    for file in files:
        with _open(file) as opened:
            frame = _frame(opened.schema_arrow.empty_table())
        first = frame if first is None else first
        if frame.schema != first.schema:
            raise GatewiseError(_difference(first.schema, frame.schema, file))
    assert first is not None

    def place(row: int) -> str:
        return f"{files[0]}, row {row + 1}"

    features, labels = split_target(first, target, require_target, str(files[0]))
    for feature in features.iter_columns():
        plain(feature, (), place)
    if labels is None or not require_target:
        return features.columns, []
    labels_of(labels, place)
    return features.columns, labels.columns


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    try:
        files = sorted(file for file in path.iterdir() if file.suffix.lower() == ".parquet" and file.is_file())
    except OSError as error:
        raise GatewiseError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    if not files:
        raise GatewiseError(f"{path}: a folder without .parquet files in it; give a file or such a folder")
    return files


@contextlib.contextmanager
def _open(path: Path, buffer_size: int = 0) -> Iterator[pyarrow.parquet.ParquetFile]:
    """The file; whatever goes wrong with it while it is open raises GatewiseError."""
    try:
        with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True, buffer_size=buffer_size) as file:
            yield file
    except GatewiseError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise GatewiseError(f"{path}: not a readable Parquet file ({reason}); write it again") from None


def _frame(table: pyarrow.Table | pyarrow.RecordBatch) -> pl.DataFrame:
    # pyarrow, since polars aborts the whole process on some damaged files; it panics on text that is not
    # UTF-8 too, so values are validated and metadata, which is not, is left behind
    table.validate(full=True)
    frame = pl.from_arrow(pyarrow.table(table.columns, names=table.schema.names))
    assert isinstance(frame, pl.DataFrame)
    return frame


def _difference(first: pl.Schema, schema: pl.Schema, path: Path) -> str:
    for one, other in zip(first.items(), schema.items(), strict=False):
        if one != other:
            words = f"column {shown(other[0])} of {other[1]} where the first file has {shown(one[0])} of {one[1]}"
            break
    else:
        words = f"{len(schema)} columns where the first file has {len(first)}"
    return f"{path}: {words}; write all files of the folder with the same columns and types"
