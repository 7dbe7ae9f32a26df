"""From rows as read to the float32 arrays that a model sees; fitted once, kept beside the model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from gatewise.data.number_format import NumberFormat
from gatewise.data.preprocessing.array import ArrayPreprocessing
from gatewise.data.preprocessing.streamed import fit_stored
from gatewise.data.preprocessing.table import KEEP_ALL, TablePreprocessing
from gatewise.data.records import Records
from gatewise.data.streaming.records import StoredRows
from gatewise.errors import GatewiseError
from gatewise.files import read_text
from gatewise.parsing import parse_json
from gatewise.wording import shown

OUTLIERS = ("squash", "keep")


class Preprocessing(Protocol):
    """What a fitted preprocessing does, of a table or of an array."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one row after `transform`."""

    @property
    def numbers(self) -> int:
        """How many of the first columns after `transform` are scaled numbers."""

    @property
    def column_names(self) -> list[str] | None:
        """The columns of the table that are used; None for an array."""

    @property
    def feature_names(self) -> list[str] | None:
        """The names of the columns after `transform`; None for an array."""

    @property
    def missing(self) -> tuple[str, ...]:
        """The texts that were read as missing values: for reading further files the same way."""

    @property
    def missing_numbers(self) -> tuple[str, ...]:
        """Those that were besides in columns of numbers."""

    @property
    def identifiers(self) -> tuple[str, ...]:
        """The columns that are not used as they look like identifiers."""

    @property
    def formats(self) -> dict[str, NumberFormat | None]:
        """How numbers in text are written, by column."""

    def used(self, records: Records | StoredRows) -> str | None:
        """A sentence on which of the table's columns are used, and how; None for an array."""

    def unknown(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """For each text column which rows, as `transform` gives them, have a value that is no category, bool `[N]`.

        Such a value is rare or was unseen in fitting. Columns without such rows are left out.
        """

    def transform(self, records: Records) -> np.ndarray:
        """The rows as float32 [N, *input_shape]; raises GatewiseError for rows unlike those fitted."""

    def save(self, folder: Path) -> None:
        """Writes `preprocessing.json`, and `preprocessing.skops` for a table, into the folder."""


def fit_preprocessing(
    records: Records | StoredRows,
    numeric: str = "standard",
    *,
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
    outliers: str = "squash",
) -> Preprocessing:
    """Fits the preprocessing to a table or an array; to a table on disk in one pass (see `stored_preprocessing`).

    `numeric` is "standard" (mean 0, standard deviation 1) or, for tables, "quantile" (each column's ranks made
    normal). Of a table the columns in `drop` are not used, and those in `keep` are, also where nearly every value is
    different and they would be left out as identifiers ("*" keeps every column). `outliers` is "squash", which brings
    numbers far outside those of most rows near (see `gatewise.data.preprocessing.outliers`), or "keep". Raises
    GatewiseError for another word, a column to keep or drop that is not there, and for data without a usable column.
    """
    for name, given, known in (("numeric", numeric, ("standard", "quantile")), ("outliers", outliers, OUTLIERS)):
        if given not in known:
            raise GatewiseError(f"{name} is {shown(given)}; give {known[0]!r} or {known[1]!r}")
    if isinstance(records, StoredRows):
        return fit_stored(records, numeric, keep, drop, outliers)
    if records.is_table:
        return TablePreprocessing.fit(records, numeric, keep, drop, outliers)
    if numeric == "quantile":
        raise GatewiseError(f"{records.name}: numeric='quantile' is for tables; an array takes 'standard'")
    if drop or any(name != KEEP_ALL for name in keep):
        raise GatewiseError(
            f"{records.name}: keep and drop name columns of a table, and an array has none; leave them out"
        )
    return ArrayPreprocessing.fit(records, outliers)


def load_preprocessing(folder: Path) -> Preprocessing:
    """What `save` wrote, read without pickle; raises GatewiseError where it is absent or damaged."""
    path = Path(folder) / "preprocessing.json"
    try:
        description = parse_json(read_text(path))
        kind = {"table": TablePreprocessing, "array": ArrayPreprocessing}[description["kind"]]
        return kind.load(Path(folder), description)
    except GatewiseError:
        raise
    except FileNotFoundError as error:
        missing = Path(error.filename or path).name
        raise GatewiseError(f"{folder}: {missing} is missing; restore the folder or train again") from None
    except Exception as error:  # whatever a damaged file leads to
        reason = (str(error).splitlines() or [""])[0]
        raise GatewiseError(
            f"{path}: not a preprocessing that can be read ({type(error).__name__}: {reason}); "
            "restore the folder or train again"
        ) from None
