"""scikit-learn's ColumnTransformer for a table: made, and read from a file of skops.

A file may come from a stranger, and an estimator of scikit-learn holds more than what it has learned: how many
processes it starts, types of its output, functions that it calls. So nothing that a file holds is used but arrays of
numbers, which are put into a transformer of ours.
"""

import itertools
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, StandardScaler

from gatewise.data.preprocessing.coding import OTHER, Column
from gatewise.files import check_regular
from gatewise.parsing import check_values

MOST_QUANTILES = 1000
LARGEST = 256 * 2**20  # bytes that preprocessing.skops may unpack to, looked at before it is
SCHEMA, SCHEMA_A_COLUMN = 2**18, 2**13  # and of these its schema.json: what any has, and more for each column
TRUSTED = ["numpy.dtype"]  # a plain description of a number type, which skops does not list as safe


def unfitted(columns: Sequence[Column], numeric: str, rows: int) -> ColumnTransformer:
    """A transformer of columns, in the order that they are given, before it is fitted to so many rows."""
    numbers = [i for i, column in enumerate(columns) if column.levels is None]
    texts = [i for i, column in enumerate(columns) if column.levels is not None]
    count = min(MOST_QUANTILES, rows)
    scaler = (
        StandardScaler()
        if numeric == "standard"
        else QuantileTransformer(n_quantiles=count, output_distribution="normal", random_state=0, copy=False)
    )
    parts: list[tuple[str, Any, list[int]]] = []
    if numbers:
        parts.append(("number", make_pipeline(SimpleImputer(strategy="median"), scaler), numbers))
        parts.append(("missing", MissingIndicator(error_on_new=False), [i for i in numbers if columns[i].tells_gaps]))
    if texts:
        parts.append(("text", OneHotEncoder(handle_unknown="ignore", sparse_output=False), texts))
    return ColumnTransformer(parts, sparse_threshold=0)


def fitted_to_each(columns: Sequence[Column], numeric: str, values: Sequence[Sequence[float]]) -> ColumnTransformer:
    """A transformer fitted on rows that have each value of each column once: its layout is right, its scale is not.

    Args:
        columns: that are used.
        numeric: "standard" or "quantile".
        values: of each column: 0, and NaN where values are missing, for numbers; the codes that a text has.
    """
    height = max(2, *map(len, values))
    rows = np.column_stack([np.resize(each, height) for each in values])
    return unfitted(columns, numeric, height).fit(rows)  # pyrefly: ignore[bad-argument-type]


def load_transformer(path: Path, columns: Sequence[Column]) -> ColumnTransformer:
    """The transformer of columns in a file; any exception says that it is damaged, too large, or of other columns."""
    import skops.io  # a second, most of it the names of all that it trusts

    check_regular(path)
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > LARGEST:
            raise ValueError(f"preprocessing.skops unpacks to more than {LARGEST // 2**20} MiB")
        schema = archive.getinfo("schema.json").file_size
        if schema > SCHEMA + SCHEMA_A_COLUMN * len(columns):
            raise ValueError(
                f"preprocessing.skops describes more than the {len(columns)} columns of preprocessing.json"
            )
        check_values(archive.read("schema.json").decode())
    loaded = skops.io.load(path, trusted=TRUSTED)
    if type(loaded) is not ColumnTransformer:
        raise TypeError("preprocessing.skops holds something else than a ColumnTransformer")
    return _with_learned({name: part for name, part, _ in loaded.transformers_}, columns)


def _with_learned(parts: Mapping[str, Any], columns: Sequence[Column]) -> ColumnTransformer:
    """A transformer of ours with the numbers that the parts of another have learned.

    Raises:
        ValueError: if they are not those of these columns.
    """
    levels = [column.levels for column in columns if column.levels is not None]
    numbers = len(columns) - len(levels)
    wanted = {*(("number", "missing") if numbers else ()), *(("text",) if levels else ())}
    seen = list(parts["text"].categories_) if "text" in parts else []
    if parts.keys() - {"remainder"} != wanted or len(seen) != len(levels):
        raise ValueError("preprocessing.skops is of another table than preprocessing.json")
    told = [place for place, column in enumerate(each for each in columns if each.levels is None) if column.tells_gaps]
    gaps = {told[i] for i in _whole(parts["missing"].features_, 0, len(told) - 1)} if numbers else set()
    zeros = iter([0.0, np.nan] if place in gaps else [0.0] for place in range(numbers))
    codes = iter(_whole(found, OTHER, len(known) - 1) for found, known in zip(seen, levels, strict=True))
    values = [next(zeros) if column.levels is None else next(codes) for column in columns]
    scaled = type(parts["number"].steps[-1][1]) is StandardScaler if numbers else True
    made = fitted_to_each(columns, "standard" if scaled else "quantile", values)
    if numbers:
        _take(made.named_transformers_["number"], parts["number"], numbers)
    return made


def _take(into: Pipeline, other: Pipeline, numbers: int) -> None:
    """Put into an imputer and a scaler of ours what those of another have learned of so many columns."""
    (_, imputer), (_, scaler) = into.steps
    (_, filled), (_, scaled) = other.steps
    if type(filled) is not SimpleImputer or type(scaled) is not type(scaler):
        raise TypeError("preprocessing.skops holds estimators that are none of ours")
    imputer.statistics_ = _finite(filled.statistics_, (numbers,))
    if type(scaler) is StandardScaler:
        learned = {name: _finite(getattr(scaled, name), (numbers,)) for name in ("mean_", "var_", "scale_")}
        for name, values in learned.items():
            setattr(scaler, name, values)
        if (learned["scale_"] <= 0).any():
            raise ValueError("preprocessing.skops has a scale that is not above 0")
        scaler.n_samples_seen_ = max(_whole([np.max(scaled.n_samples_seen_)], 1, 2**53))
        return
    count = len(scaled.quantiles_)
    scaler.set_params(n_quantiles=count)
    scaler.n_quantiles_, scaler.references_ = count, np.linspace(0, 1, count)
    scaler.quantiles_ = _finite(scaled.quantiles_, (count, numbers))
    if not 1 <= count <= MOST_QUANTILES or (np.diff(scaler.quantiles_, axis=0) < 0).any():
        raise ValueError(f"preprocessing.skops has quantiles that do not rise, or more than {MOST_QUANTILES}")


def _finite(values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Finite numbers of a shape, as float64."""
    found = np.asarray(values)
    if found.dtype.kind not in "fiu" or found.shape != shape or not np.isfinite(found).all():
        raise ValueError(
            f"preprocessing.skops holds {found.dtype} {list(found.shape)}, not finite numbers {list(shape)}"
        )
    return found.astype(np.float64)


def _whole(values: Any, least: int, most: int) -> list[int]:
    """Whole numbers that rise, within bounds."""
    found = _finite(values, np.shape(values)).ravel().tolist()
    rising = all(low < high for low, high in itertools.pairwise(found))
    if not rising or not all(least <= number <= most and number == int(number) for number in found):
        raise ValueError(
            f"preprocessing.skops holds numbers of columns or categories that are not from {least} to {most}"
        )
    return [int(number) for number in found]
