"""Parquet files on disk: which there are, what columns they have, and what pyarrow reads of them, checked."""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow
import pyarrow.parquet

from gatewise.data.columns import labels_there, plain, split_target
from gatewise.data.readers.arrow_types import frame_of_arrow
from gatewise.data.row_numbers import index_columns
from gatewise.data.target_columns import target_columns
from gatewise.errors import GatewiseError
from gatewise.wording import shown

BUFFER = 2**16  # bytes of each column that are read ahead in streaming


class Wanted(NamedTuple):
    """The columns of a file in its order.

    Attributes:
        names: of those that are wanted.
        looked_at: of those whose values are.
        indices: of features that were an index of pandas.
    """

    names: list[str]
    looked_at: list[str]
    indices: list[str]


def wanted_of(
    schema: pyarrow.Schema, target: str | None, columns: Sequence[str] | None, drop: Collection[str]
) -> Wanted:
    """The target's columns and `columns`, where all of these are there, else all columns; `drop` is not looked at."""
    targets = [] if target is None else target_columns(target, schema.names)
    features = [name for name in schema.names if name not in targets]
    chosen = {*columns} if columns is not None and {*columns} <= {*features} else {*features}
    names = [name for name in schema.names if name in chosen or name in targets]
    looked_at = [name for name in names if name not in drop or name in targets]
    return Wanted(names, looked_at, index_columns(schema.metadata, [name for name in features if name in looked_at]))


def columns_of(
    files: Sequence[Path],
    target: str | None,
    require_target: bool,
    columns: Sequence[str] | None = None,
    drop: Collection[str] = (),
) -> tuple[list[str], list[str], list[str]]:
    """The names of the feature columns, of those of a target that is required, and of features that are indices.

    Raises GatewiseError for files whose columns differ, and for types that cannot be used.
    """
    first, indices = None, []
    for file in files:
        with opened_file(file) as opened:
            wanted = wanted_of(opened.schema_arrow, target, columns, drop)
            frame = frame_of(opened.schema_arrow.empty_table().select(wanted.looked_at), wanted.names)
        indices = indices if first is not None else wanted.indices
        first = frame if first is None else first
        if frame.schema != first.schema:
            raise GatewiseError(difference(first.schema, frame.schema, file))
    assert first is not None

    def place(row: int) -> str:
        return f"{files[0]}, row {row + 1}"

    features, labels = split_target(first, target, require_target, str(files[0]))
    for feature in features.iter_columns():
        plain(feature, (), place)
    if labels is None or not require_target:
        return features.columns, [], indices
    labels_there(labels, place)
    return features.columns, labels.columns, indices


def files_of(path: Path) -> list[Path]:
    """The file itself, or the `.parquet` files of a folder in the order of their names.

    Raises:
        GatewiseError: for a folder that cannot be read, or has none.
    """
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
def opened_file(path: Path, buffer_size: int = 0) -> Iterator[pyarrow.parquet.ParquetFile]:
    """The file; whatever goes wrong with it while it is open raises GatewiseError."""
    # a buffer alone is not used: by default all columns of a row group are read before its first rows are there
    options = {"buffer_size": buffer_size, "pre_buffer": False} if buffer_size else {}
    try:
        with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True, **options) as file:
            yield file
    except GatewiseError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise GatewiseError(f"{path}: not a readable Parquet file ({reason}); write it again") from None


def frame_of(table: pyarrow.Table | pyarrow.RecordBatch, names: Sequence[str]) -> pl.DataFrame:
    """What pyarrow has read, as polars has it, once its values are known to be valid.

    These are the columns of the frame; those that the table lacks have no values.
    """
    # pyarrow, since polars aborts the whole process on some damaged files; it panics on text that is not
    # UTF-8 too, so values are validated and metadata, which is not, is left behind
    table.validate(full=True)
    there = {*table.schema.names}
    columns = [table.column(name) if name in there else pyarrow.nulls(table.num_rows) for name in names]
    return frame_of_arrow(pyarrow.table(columns, names=[*names]))


def difference(first: pl.Schema, schema: pl.Schema, path: Path) -> str:
    """What is said of a file whose columns are not those of the first one."""
    for one, other in zip(first.items(), schema.items(), strict=False):
        if one != other:
            words = f"column {shown(other[0])} of {other[1]} where the first file has {shown(one[0])} of {one[1]}"
            break
    else:
        words = f"{len(schema)} columns where the first file has {len(first)}"
    return f"{path}: {words}; write all files of the folder with the same columns and types"
