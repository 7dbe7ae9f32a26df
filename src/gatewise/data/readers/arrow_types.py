"""Arrow's types as those that polars has: what both know stays as it is."""

import uuid

import polars as pl
import pyarrow
import pyarrow.compute

from gatewise.data.columns import no_use_of
from gatewise.errors import GatewiseError

DAILY, MONTHLY = "D", "M"
"""Frequencies of pandas' periods that begin at a midnight."""


def frame_of_arrow(table: pyarrow.Table) -> pl.DataFrame:
    """A table of Arrow as polars has it.

    A dictionary's values stand for themselves, but for texts, which are categories. Decimals beyond 128 bits become
    Float64, UUIDs texts, pandas' periods the date on which they begin; of other extension types their storage is taken.

    Raises:
        GatewiseError: naming a column whose type has no like in polars.
    """
    columns = []
    for name, column in zip(table.schema.names, table.columns, strict=True):
        try:
            columns.append(pl.Series(name, pl.from_arrow(_known(column))))
        except BaseException as error:
            # polars panics on some types, and a panic is no Exception
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise GatewiseError(no_use_of(name, column.type)) from None
    return pl.DataFrame(columns)


def _known(column: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    kind, types = column.type, pyarrow.types
    if isinstance(kind, pyarrow.BaseExtensionType):
        name, every = kind.extension_name, getattr(kind, "freq", None)
        storage = pyarrow.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
        if name == "pandas.period":
            return _first_days(storage, every)
        if name == "arrow.uuid":
            return pyarrow.chunked_array([_uuid_texts(storage)])
        return _known(storage.cast(pyarrow.bool_()) if name == "arrow.bool8" else storage)
    if types.is_dictionary(kind) and not _is_text(kind.value_type):
        return _known(column.cast(kind.value_type))
    if types.is_decimal(kind) and kind.bit_width > 128:
        return column.cast(pyarrow.float64())
    return column


def _is_text(kind: pyarrow.DataType) -> bool:
    types = pyarrow.types
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _uuid_texts(storage: pyarrow.ChunkedArray) -> pyarrow.Array:
    texts = [None if each is None else str(uuid.UUID(bytes=each)) for each in storage.to_pylist()]
    return pyarrow.array(texts, pyarrow.string())


def _first_days(ordinals: pyarrow.ChunkedArray, every: str | None) -> pyarrow.ChunkedArray:
    """The dates of periods that are counted from the first of 1970."""
    count = pl.Series(pl.from_arrow(ordinals)).cast(pl.Int64)
    if every == MONTHLY:
        months = pl.DataFrame({"year": 1970 + count // 12, "month": count % 12 + 1})
        return pyarrow.chunked_array([months.select(pl.date("year", "month", 1)).to_series().to_arrow()])
    if every != DAILY:
        raise ValueError(f"periods of {every!r} have no first day that pyarrow tells")
    return pyarrow.chunked_array([count.cast(pl.Int32).cast(pl.Date).to_arrow()])
