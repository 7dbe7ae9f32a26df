"""Tables written as they come: complete when the last rows are in, absent if anything goes wrong before."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import polars as pl
import polars.selectors as cs
import pyarrow
import pyarrow.parquet

from gatewise.errors import GatewiseError
from gatewise.files import replacing

ENDINGS = (".csv", ".parquet")
GROUP = 2**22  # bytes of a row group: small ones are slow to read, and several times as much is held while one is made

Write = Callable[[pl.DataFrame], None]


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[Write]:
    """A function that appends tables of one schema to a new .csv or .parquet file, renamed into place at the end.

    Raises:
        GatewiseError: for another ending, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise GatewiseError(f"{path}: predictions are written as .csv or .parquet; choose one of these endings")
    with replacing(path) as part, part.open("wb") as file:
        if path.suffix == ".csv":
            yield csv_writer(file.write)
        else:
            with _parquet_writer(file) as write:
                yield write


def csv_writer(write: Callable[[bytes], object]) -> Write:
    """Appends tables as CSV, the header before the first."""
    header = True

    def append(frame: pl.DataFrame) -> None:
        nonlocal header
        # polars writes no durations as CSV; ISO 8601's form is read again as one
        written = frame.with_columns(cs.duration().dt.to_string("iso"))
        write(written.write_csv(include_header=header).encode())
        header = False

    return append


@contextlib.contextmanager
def _parquet_writer(file: BinaryIO) -> Iterator[Write]:
    """Row groups of about `GROUP` bytes; text as the plain type, which every reader knows."""
    writer: pyarrow.parquet.ParquetWriter | None = None
    held: list[pl.DataFrame] = []

    def flush() -> None:
        nonlocal writer
        table = pl.concat(held).to_arrow(compat_level=pl.CompatLevel.oldest())
        texts = {name: pyarrow.string() for name in held[0].columns if held[0][name].dtype == pl.String}
        table = table.cast(pyarrow.schema([(f.name, texts.get(f.name, f.type)) for f in table.schema]))
        writer = writer or pyarrow.parquet.ParquetWriter(file, table.schema, compression="zstd")
        writer.write_table(table)
        held.clear()

    def append(frame: pl.DataFrame) -> None:
        held.append(frame)
        if sum(each.estimated_size() for each in held) >= GROUP:
            flush()

    yield append
    if held:
        flush()
    if writer is not None:
        writer.close()
