"""Data sets that come with the package, so that every command works without a file."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from sklearn import datasets

from gatewise.data.readers.teacher import teacher
from gatewise.data.records import Records


def _digits() -> Records:
    data: Any = datasets.load_digits()
    return Records(
        features=data.images.astype(np.float32),
        labels=data.target.astype(str).astype(object),
        name="digits",
    )


def _table(name: str) -> Records:
    data = getattr(datasets, f"load_{name}")()
    columns = {str(column): data.data[:, d] for d, column in enumerate(data.feature_names)}
    return Records(
        features=pl.DataFrame(columns),
        labels=data.target_names.astype(object)[data.target],
        name=name,
        target="target",
    )


BUNDLED: dict[str, Callable[[], Records]] = {
    "breast_cancer": partial(_table, "breast_cancer"),
    "digits": _digits,
    "iris": partial(_table, "iris"),
    "teacher": teacher,
    "wine": partial(_table, "wine"),
}
"""The bundled data sets by name, each as a function that loads it."""
