"""Arrays: one mean and standard deviation for image-like rows, one a column for plain rows."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gatewise.data.columns import check_numbers, check_type
from gatewise.data.missing_values import MISSING
from gatewise.data.number_format import NumberFormat
from gatewise.data.preprocessing.one_pass import ColumnMoments
from gatewise.data.preprocessing.outliers import Squash
from gatewise.data.records import Records
from gatewise.data.streaming.records import StoredRows
from gatewise.errors import GatewiseError
from gatewise.files import write_text

BLOCK = 1024  # rows converted at once, so that float64 copies stay small
SAMPLE, LEAST_ROWS = 2**24, 10_000  # numbers whose quartiles are taken, where that leaves rows enough


@dataclass(frozen=True, eq=False)
class ArrayPreprocessing:
    """(x − mean) / scale, with scalars for rows of two or more dimensions and [D] for rows of one.

    Numbers far outside are brought near first, by `squash`; None leaves them where they are, as runs did that were
    written before there was one.
    """

    input_shape: tuple[int, ...]
    mean: np.ndarray  # float64, [] or [D]
    scale: np.ndarray
    squash: Squash | None = None
    column_names: None = None
    feature_names: None = None
    missing: tuple[str, ...] = MISSING
    missing_numbers: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()

    @classmethod
    def fit(cls, records: Records, outliers: str = "squash") -> "ArrayPreprocessing":
        """Fits to an array [N, ...]; what is constant gets scale 1. Raises GatewiseError for NaN in it."""
        x = np.asarray(records.features)
        check_numbers(x, records.name)
        squash = None if outliers == "keep" else _squash(x)
        columns = x.shape[1:] if x.ndim == 2 else ()
        moments = ColumnMoments.of(_blocks(x, squash))
        # exact, where the squares carry rounding
        constant = x.max(axis=0 if columns else None) == x.min(axis=0 if columns else None)
        scale = np.where(constant, 1.0, np.sqrt(moments.variance))
        return cls(x.shape[1:], moments.mean.reshape(columns), scale.reshape(columns), squash)

    def used(self, records: Records | StoredRows) -> str | None:
        """How the rows were read, where there is something to say: every number of an array is used."""
        return records.note

    @property
    def formats(self) -> dict[str, NumberFormat | None]:
        """None: an array holds no text."""
        return {}

    @property
    def numbers(self) -> int:
        """All of a row's numbers."""
        return math.prod(self.input_shape)

    def unknown(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Nothing: an array has no categories."""
        return {}

    def transform(self, records: Records) -> np.ndarray:
        """The rows as float32 [N, *input_shape]; raises GatewiseError for a table, another shape, NaN."""
        if records.is_table:
            raise GatewiseError(
                f"{records.name}: a table, but the model was trained on arrays of shape "
                f"{self.input_shape} a row; give a .npz file"
            )
        x = np.asarray(records.features)
        check_type(x, records.name)
        if x.shape[1:] != self.input_shape:
            raise GatewiseError(
                f"{records.name}: rows of shape {x.shape[1:]}, but the model was trained on "
                f"{self.input_shape}; give arrays of that shape"
            )
        out = np.empty(x.shape, dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for i in range(0, len(x), BLOCK):
                near = x[i : i + BLOCK] if self.squash is None else self.squash(x[i : i + BLOCK])
                out[i : i + BLOCK] = (near - self.mean) / self.scale
        finite = np.isfinite(out)
        if not finite.all():
            row = int(np.unravel_index(finite.argmin(), out.shape)[0])
            raise GatewiseError(
                f"{records.place(row)}: a number that is NaN, infinite or too far from those "
                "trained on; mend or drop it"
            )
        return out

    def save(self, folder: Path) -> None:
        """Writes `preprocessing.json` into the folder."""
        description = {
            "kind": "array",
            "input_shape": list(self.input_shape),
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "squash": None if self.squash is None else self.squash.described(),
        }
        write_text(Path(folder) / "preprocessing.json", json.dumps(description))

    @classmethod
    def load(cls, folder: Path, description: dict) -> "ArrayPreprocessing":
        """What `save` wrote; any exception says that the description is damaged."""
        shape = tuple(description["input_shape"])
        mean, scale = (np.array(description[key]) for key in ("mean", "scale"))
        numbers = all(type(size) is int and size > 0 for size in shape) and {mean.dtype.kind, scale.dtype.kind} <= {
            *"fi"
        }
        if not numbers:
            raise TypeError("sizes, means or scales that are no numbers")
        if not (mean.shape == scale.shape == (shape if len(shape) == 1 else ())):
            raise ValueError("mean and scale do not fit the shape")
        if not (np.isfinite(mean).all() and np.isfinite(scale).all() and (scale > 0).all()):
            raise ValueError("mean and scale are not finite numbers above 0")
        return cls(
            shape,
            mean.astype(np.float64),
            scale.astype(np.float64),
            Squash.parsed(description.get("squash"), mean.shape),
        )


def _blocks(x: np.ndarray, squash: Squash | None) -> Iterator[np.ndarray]:
    """The numbers in parts, float64 `[N, D]`, of images all in one dimension; those far outside brought near."""
    for i in range(0, len(x), BLOCK):
        near = (x[i : i + BLOCK] if squash is None else squash(x[i : i + BLOCK])).astype(np.float64)
        yield near if x.ndim == 2 else near.reshape(-1)


def _squash(x: np.ndarray) -> Squash:
    """What brings numbers near: from rows evenly spaced among all, where these are many."""
    some = x[:: max(1, len(x) // max(LEAST_ROWS, SAMPLE // math.prod(x.shape[1:])))]
    if x.ndim == 2:
        return Squash.of([*some.T])
    of_all = Squash.of([some.reshape(-1)])
    return Squash(of_all.low[0], of_all.high[0], of_all.room[0])
