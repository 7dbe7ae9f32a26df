"""Parquet files, one or a folder of them: numbers stay numbers and text stays text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet

from gatewise.data.columns import label_text, plain, split_target
from gatewise.data.records import Records
from gatewise.errors import GatewiseError
from gatewise.wording import shown


def read_parquet(path: Path, target: str | None, missing: Sequence[str], require_target: bool) -> Records:
    """The rows of a Parquet file, or of a folder's `.parquet` files in the order of their names.

    Numbers become Float64, text is stripped, booleans and categories become text. Files in sub-folders and
    with other endings are left out. Raises GatewiseError for a file that cannot be read, for files whose
    columns differ, and for columns that are neither numbers nor text.
    """
    parts, labels, schema = [], [], None
    for file in _files(path):
        frame = _frame(file)
        schema = schema or frame.schema
        if frame.schema != schema:
            raise GatewiseError(_difference(schema, frame.schema, file))
        if frame.is_empty():
            continue

        def place(row: int, file: Path = file) -> str:
            return f"{file}, row {row + 1}"

        features, column = split_target(frame, target, require_target, str(file))
        parts.append(pl.DataFrame([plain(feature, missing, place) for feature in features.iter_columns()]))
        labels.append(None if column is None else label_text(column, place, require_target))
    if not parts:
        raise GatewiseError(f"{path}: no rows; give a table with rows")
    known = all(part is not None for part in labels)
    return Records(
        features=pl.concat(parts),
        labels=np.concatenate(labels) if known else None,
        name=str(path),
        target=target if target in (schema or ()) else None,
        missing=tuple(missing),
    )


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


def _frame(path: Path) -> pl.DataFrame:
    # pyarrow, since polars aborts the whole process on some damaged files; it panics on text that is not
    # UTF-8 too, so values are validated and metadata, which is not, is left behind
    try:
        with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
        table.validate(full=True)
        frame = pl.from_arrow(pyarrow.table(table.columns, names=table.column_names))
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise GatewiseError(f"{path}: not a readable Parquet file ({reason}); write it again") from None
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
