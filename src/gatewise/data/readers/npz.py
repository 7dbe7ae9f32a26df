"""NumPy's .npz files: an array of numbers and its labels, read without pickle."""

import math
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from gatewise.data.columns import check_numbers
from gatewise.data.missing_values import MISSING
from gatewise.data.read_options import Form
from gatewise.data.records import Records, Source
from gatewise.data.unlabelled import with_labels
from gatewise.errors import GatewiseError
from gatewise.wording import listing

NAMES = ("x", "y", "x_train", "y_train", "x_test", "y_test")
READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
DEFAULT = Form()
LIMIT = 16 * 2**30  # bytes that a file may declare, checked before any of them is allocated


def read_npz(path: Path, require_target: bool, missing: Sequence[str] = MISSING, form: Form = DEFAULT) -> Source:
    """Arrays `x` and `y`, or `x_train`, `y_train`, `x_test` and `y_test`; other arrays are left out.

    x is numbers [N, ...] with two or more dimensions; y is [N], of integers, text, booleans or whole
    numbers, or [N, L] for several labels a row; rows whose label is missing are left out. Where labels are not
    required `x` may stand alone. Raises GatewiseError for a file that cannot be read without pickle, declares more than
    16 GiB, or holds NaN or infinite numbers in x.
    """
    arrays = _load(path)
    parts = ("",) if "x" in arrays else ("_train", "_test")
    alone = not require_target and set(arrays) == {"x"}
    wanted = {f"{letter}{part}" for letter in ("x" if alone else "xy") for part in parts}
    if set(arrays) != wanted:
        raise GatewiseError(
            f"{path}: holds the arrays {listing(sorted(arrays)) or 'x and y under no such name'}; "
            "name them x and y, or x_train, y_train, x_test and y_test"
        )
    records = [_records(path, arrays, part, require_target, missing, form) for part in parts]
    if len(records) == 2 and records[0].features.shape[1:] != records[1].features.shape[1:]:
        raise GatewiseError(
            f"{path}: x_train has shape {records[0].features.shape} and x_test {records[1].features.shape}; "
            "make them agree beyond the first dimension"
        )
    return Source(*records)


def _records(
    path: Path, arrays: dict[str, np.ndarray], part: str, require_target: bool, missing: Sequence[str], form: Form
) -> Records:
    x, y = arrays[f"x{part}"], arrays.get(f"y{part}")
    check_numbers(x, f"{path}: x{part}")
    columns = None
    if y is not None:
        if y.ndim not in (1, 2) or len(y) != len(x) or not y.size:
            raise GatewiseError(
                f"{path}: y{part} has shape {y.shape} and x{part} {x.shape}; give one label a row, shape [N], or "
                "several, shape [N, L]"
            )
        if y.dtype.kind not in "biufU" or (y.dtype.itemsize > 8 and y.dtype.kind == "f"):
            raise GatewiseError(f"{path}: y{part} holds {y.dtype} values; give integers or text")
        known = (y.astype(np.float64) if y.dtype.kind == "f" else y).reshape(len(y), -1)
        names = [f"y{part}"] if y.ndim == 1 else [f"y{i}" for i in range(y.shape[1])]
        columns = pl.DataFrame([pl.Series(name, known[:, i]) for i, name in enumerate(names)])
    records = Records(features=x, labels=None, name=str(path), missing=tuple(missing))
    records = with_labels(records, columns, form, lambda row: f"{path}, y{part}[{row}]", require_target)
    return replace(records, target=None)


def _load(path: Path) -> dict[str, np.ndarray]:
    """The arrays of the names known, after a look at their headers: a few bytes can declare petabytes."""
    try:
        with zipfile.ZipFile(path) as archive:
            present = [name for name in NAMES if f"{name}.npy" in archive.namelist()]
            declared = sum(_declared(archive, f"{name}.npy") for name in present)
        if declared > LIMIT:
            raise GatewiseError(f"{declared / 2**30:.0f} GiB of numbers; the limit is 16 GiB, so use fewer")
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in present}
    except GatewiseError as error:
        raise GatewiseError(f"{path}: {error}") from None
    except Exception as error:  # a damaged archive fails in many ways
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise GatewiseError(f"{path}: not a readable .npz file ({reason}); write it again") from None


def _declared(archive: zipfile.ZipFile, name: str) -> int:
    """The bytes that an array's header declares."""
    with archive.open(name) as file:
        shape, _, dtype = READ_HEADER[np.lib.format.read_magic(file)](file)
    if dtype.hasobject:
        raise GatewiseError(f"{name} holds Python objects; save numbers or text, not dtype=object")
    return math.prod(shape) * dtype.itemsize
