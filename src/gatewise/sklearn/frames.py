"""Arrays and data frames of scikit-learn's users as records: arrays stay arrays, data frames become tables."""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.validation import check_array, validate_data  # pyrefly: ignore[missing-module-attribute]

from gatewise.config import RunConfig
from gatewise.data import Records
from gatewise.data.columns import check_as_numbers, typed_columns
from gatewise.data.readings import readings_of_durations, said_of_readings
from gatewise.data.row_numbers import row_numbers
from gatewise.errors import GatewiseError
from gatewise.sklearn.parameters import for_python
from gatewise.wording import listing, shown

NAME = "X"
"""What messages call the rows."""
LARGEST = 4 * 2**30
"""Bytes that a sparse array may take when it is filled in."""


def is_frame(X: Any) -> bool:
    """Whether it is a data frame of polars or pandas; pandas need not be installed."""
    return isinstance(X, pl.DataFrame) or (type(X).__module__.split(".")[0] == "pandas" and hasattr(X, "columns"))


def fitting_records(estimator: BaseEstimator, X: Any, config: RunConfig) -> Records:
    """Rows to fit to; sets `n_features_in_`, and `feature_names_in_` where the columns have names.

    Columns of text that hold numbers become numbers, as in a file; a `DataConversionWarning` says of which this is less
    than plain.

    Raises:
        ValueError: for what is neither numbers nor a data frame, and as `check_array`.
    """
    if not is_frame(X):
        return _called(Records(_numbers(estimator, X, reset=True), None, NAME))
    names = Counter(map(str, X.columns))
    if twice := [name for name, count in names.items() if count > 1]:
        raise GatewiseError(f"{NAME}: the columns {listing(twice)} stand there more than once; rename them")
    validate_data(estimator, X, reset=True, skip_check_array=True)
    table = _table(estimator, X)
    missing, form = tuple(config.missing), config.form
    marks = {"missing": missing, "missing_numbers": form.missing_numbers}
    rules = {"decimal": form.decimal, "reading": form.reading, "date_format": form.date_format}
    records = _called(Records(table, None, NAME, **rules, **marks))
    try:
        check_as_numbers(table.columns, form, NAME)
        texts = table.columns if form.formats is None else ()
        features, readings = typed_columns(table, texts, form, missing, records.place)
    except GatewiseError as error:
        raise GatewiseError(for_python(str(error))) from None
    for told in said_of_readings(readings, missing, form.as_numbers):
        warnings.warn(for_python(told), DataConversionWarning, stacklevel=4)
    readings = readings_of_durations(table.schema, form) | readings
    return replace(records, features=features, readings=readings, row_numbers=tuple(row_numbers(table)))


def further_records(
    estimator: BaseEstimator, X: Any, *, as_table: bool, missing: Sequence[str], missing_numbers: Sequence[str] = ()
) -> Records:
    """Rows for a fitted estimator.

    Args:
        estimator: fitted.
        X: rows.
        as_table: whether it was fitted to a data frame; an array is then read as one.
        missing: the texts that stand for a missing value in a data frame.
        missing_numbers: those that do besides, in columns of numbers.

    Raises:
        ValueError: as `fitting_records`, and for columns that are not those of fitting.
    """
    if not as_table:
        return _called(Records(_numbers(estimator, X, reset=False), None, NAME))
    if not is_frame(X):
        options: dict[str, Any] = {"dtype": None, "ensure_all_finite": False}
        X = check_array(X, estimator=estimator, **options)
    validate_data(estimator, X, reset=False, skip_check_array=True)
    marks = {"missing": tuple(missing), "missing_numbers": tuple(missing_numbers)}
    return _called(Records(_table(estimator, X), None, NAME, **marks))


def _called(records: Records) -> Records:
    """With the rows called by the caller's own numbers, from 0, also where they are taken apart."""
    return replace(records, numbers=range(len(records)), unit="row index")


def check_labels(y: np.ndarray) -> None:
    """Raises GatewiseError for None or such among labels `[N]`, of which NumPy says that they have no order."""
    missing = [
        i for i, label in enumerate(y.tolist()) if label is None or type(label).__name__ in ("NAType", "NaTType")
    ]
    if missing:
        raise GatewiseError(
            f"Input y contains {len(missing)} missing labels, the first at row index {missing[0]}; drop these rows"
        )


def _numbers(estimator: BaseEstimator, X: Any, reset: bool) -> np.ndarray:
    """An array `[N, D]`, or `[N, ...]` for images, of finite numbers; a sparse one is filled in."""
    X = validate_data(estimator, X, reset=reset, dtype="numeric", allow_nd=True, accept_sparse=("csr", "csc"))
    if issparse(X):
        size = X.shape[0] * X.shape[1] * X.dtype.itemsize
        if size > LARGEST:
            raise GatewiseError(
                f"{NAME} is sparse, and filled in its {X.shape[0]} x {X.shape[1]} numbers take {size / 2**30:.1f} GiB; "
                f"{LARGEST / 2**30:.0f} are taken: reduce the columns first, such as by TruncatedSVD or SelectKBest"
            )
        X = X.toarray()
    return X if X.dtype.kind != "f" or X.dtype.itemsize in (4, 8) else X.astype(np.float64)


def _table(estimator: BaseEstimator, X: Any) -> pl.DataFrame:
    """A data frame, or an array that stands for one, with the names of fitting or, without names, x0, x1, …"""
    for count, what in zip(X.shape, ("sample", "feature"), strict=True):
        if not count:
            raise GatewiseError(f"{NAME}: found data with 0 {what}(s) (shape={X.shape}), a minimum of 1 is required")
    names = [str(name) for name in getattr(estimator, "feature_names_in_", map("x{}".format, range(X.shape[1])))]
    if isinstance(X, pl.DataFrame):
        return X.rename(dict(zip(X.columns, names, strict=True)))
    columns = X.T if isinstance(X, np.ndarray) else (X.iloc[:, i] for i in range(X.shape[1]))
    return pl.DataFrame([_column(name, values) for name, values in zip(names, columns, strict=True)])


def _column(name: str, values: Any) -> pl.Series:
    """One column of pandas or NumPy; categories, of whatever type, as text."""
    if hasattr(values.dtype, "fill_value"):  # pandas' sparse columns
        values = values.sparse.to_dense()
    if hasattr(values.dtype, "categories"):
        texts = [None if value is None or value != value else str(value) for value in values.tolist()]
        return pl.Series(name, texts, pl.String).cast(pl.Categorical)
    if isinstance(values, np.ndarray) and values.dtype == object:
        values = [None if value is None or value != value else value for value in values.tolist()]
    try:
        if isinstance(values, (list, np.ndarray)):
            return pl.Series(name, values, nan_to_null=True)
        return pl.from_pandas(values.reset_index(drop=True), nan_to_null=True).alias(name)
    except Exception as error:  # what polars and pyarrow say of mixed types
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise GatewiseError(
            f"{NAME}: column {shown(name)} holds values of more than one kind ({reason}); make them all text or numbers"
        ) from None
