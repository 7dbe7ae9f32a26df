"""Parquet files on disk: which there are, what columns they have, and what pyarrow reads of them, checked."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pyarrow
import pyarrow.parquet

from gatewise.data.columns import labels_of, plain, split_target
from gatewise.errors import GatewiseError
from gatewise.wording import shown

BUFFER = 2**16  # bytes of each column that are read ahead in streaming


def columns_of(files: Sequence[Path], target: str | None, require_target: bool) -> tuple[list[str], list[str]]:
    """The names of the feature columns and of those of a target that is required.

    Raises GatewiseError for files whose columns differ, and for types that cannot be used.
    """
    first = None
    for file in files:
        with opened_file(file) as opened:
            frame = frame_of(opened.schema_arrow.empty_table())
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
        return features.columns, []
    labels_of(labels, place)
    return features.columns, labels.columns


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


def frame_of(table: pyarrow.Table | pyarrow.RecordBatch) -> pl.DataFrame:
    """What pyarrow has read, as polars has it, once its values are known to be valid."""
    # pyarrow, since polars aborts the whole process on some damaged files; it panics on text that is not
    # UTF-8 too, so values are validated and metadata, which is not, is left behind
    table.validate(full=True)
    frame = pl.from_arrow(pyarrow.table(table.columns, names=table.schema.names))
    assert isinstance(frame, pl.DataFrame)
    return frame


def difference(first: pl.Schema, schema: pl.Schema, path: Path) -> str:
    """What is said of a file whose columns are not those of the first one."""
    for one, other in zip(first.items(), schema.items(), strict=False):
        if one != other:
            words = f"column {shown(other[0])} of {other[1]} where the first file has {shown(one[0])} of {one[1]}"
            break
    else:
        words = f"{len(schema)} columns where the first file has {len(first)}"
    return f"{path}: {words}; write all files of the folder with the same columns and types"
