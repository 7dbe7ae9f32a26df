"""Targets that are numbers: told from classes, and read from the labels as they were written."""

import numpy as np

from gatewise.data.columns import Place
from gatewise.errors import GatewiseError
from gatewise.wording import shown

FEW = 20
"""Whole numbers of so few values are classes, where nothing else is said."""
FEW_FRACTIONS = 10
"""As `FEW`, of numbers with fractions."""
OFTEN = 8
"""Rows that each of many whole numbers 0, 1, 2, … or 1, 2, 3, … has where they are taken for classes."""


def guess_head(labels: np.ndarray) -> tuple[str, str | None]:
    """What labels `[N]` call for, "categorical" or "gaussian", and a sentence on why where it could be otherwise."""
    names, counts = np.unique(labels.astype(str), return_counts=True)
    try:
        values = np.array([float(name) for name in names])
    except ValueError:
        return "categorical", None
    if not np.isfinite(values).all():
        return "categorical", None
    whole = bool((values == np.round(values)).all())
    distinct = f"{len(values)} {'whole ' if whole else ''}numbers"
    if len(values) <= (FEW if whole else FEW_FRACTIONS):
        return "categorical", f"The target has {distinct}, taken for classes; for numbers give --head gaussian."
    if not whole:
        return "gaussian", f"The target has {distinct}, taken for numbers; for classes give --head categorical."
    others = "for classes --head categorical" if values.min() < 0 else (
        "for counts give --head poisson, for classes --head categorical"
    )  # fmt: skip
    numbered = values.min() in (0, 1) and values.max() - values.min() + 1 == len(values)
    if numbered and counts.min() >= OFTEN:
        others = "for numbers give --head gaussian, for counts --head poisson"
        return "categorical", f"The target has {distinct} without gaps, taken for classes; {others}."
    return "gaussian", f"The target has {distinct}, taken for numbers; {others}."


def target_numbers(labels: np.ndarray, head: str, place: Place) -> np.ndarray:
    """The labels `[N]` as float64.

    Raises:
        GatewiseError: for a label that is no finite number, or for the head poisson no count.
    """
    values = np.empty(len(labels))
    for row, label in enumerate(labels):
        try:
            values[row] = float(label)
        except ValueError:
            values[row] = np.nan
    _refuse(~np.isfinite(values), labels, place, f"which is no number; the head {head} predicts numbers")
    if head == "poisson":
        bad = (values < 0) | (values != np.round(values))
        _refuse(bad, labels, place, "which is no count; the head poisson takes whole numbers from 0, so try gaussian")
    return values


def _refuse(bad: np.ndarray, labels: np.ndarray, place: Place, why: str) -> None:
    if bad.any():
        row = int(bad.argmax())
        raise GatewiseError(f"{place(row)}: the target is {shown(labels[row])}, {why}")
