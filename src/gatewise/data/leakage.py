"""Columns that give the answer away: one alone tells the target of nearly every row, as no honest column does."""

import numpy as np
import polars as pl

ROWS, FEWEST = 10_000, 50
"""Rows that are looked at, at most, and rows below which chance could tell as much."""
RIGHT, ALIKE = 0.999, 0.9999
"""The share of rows that a column must tell right, and for numbers the share of the variance that it must explain."""
USUAL = 0.98
"""Where so many rows have one class, a column that tells the rest apart is no wonder."""


def telling_columns(features: pl.DataFrame, labels: np.ndarray, numbers: bool) -> list[str]:
    """The columns each of which alone tells the labels, `[N]` or `[N, L]`, of the same rows.

    A column of few values tells a class if the other rows of a value have it nearly always; a column of numbers also
    if C - 1 cuts part the C classes. It tells numbers if its values, or their ranks, explain nearly all that varies.

    Args:
        features: rows as they were read; columns of numbers or text.
        labels: texts.
        numbers: whether the labels are numbers, and not classes.
    """
    if len(features) < FEWEST:
        return []
    rows = np.linspace(0, len(features) - 1, min(ROWS, len(features))).astype(int)
    sets = labels[rows].reshape(len(rows), -1).T
    told: list[str] = []
    for series in features[rows].iter_columns():
        codes = series.rank("dense").fill_null(0).to_numpy().astype(int)
        ordered = codes if series.dtype.is_numeric() and not series.null_count() else None
        if any(_tells_number(codes, ordered, y) if numbers else _tells_class(codes, ordered, y) for y in sets):
            told.append(series.name)
    return told


def _tells_class(codes: np.ndarray, ordered: np.ndarray | None, labels: np.ndarray) -> bool:
    names, classes = np.unique(labels.astype(str), return_inverse=True)
    if np.bincount(classes).max() > USUAL * len(classes):
        return False
    # by the most frequent class among the other rows of the same value; a value of one row has none
    together = np.zeros((codes.max() + 1, len(names)), dtype=int)
    np.add.at(together, (codes, classes), 1)
    others = together[codes]
    others[np.arange(len(codes)), classes] -= 1
    if ((others.argmax(1) == classes) & (others.max(1) > 0)).mean() >= RIGHT:
        return True
    if ordered is None:
        return False
    in_order = classes[np.lexsort((classes, ordered))]
    changes = int((np.diff(in_order) != 0).sum())
    return changes <= len(names) - 1 + (1 - RIGHT) * len(codes) and len(names) < len(codes) / FEWEST * 5


def _tells_number(codes: np.ndarray, ordered: np.ndarray | None, labels: np.ndarray) -> bool:
    try:
        y = labels.astype(float)
    except ValueError:
        return False
    ranks = np.unique(y, return_inverse=True)[1].astype(float)
    if len(np.unique(ranks)) < FEWEST / 5:
        return _tells_class(codes, ordered, labels)
    count = np.bincount(codes)[codes]
    mean = (np.bincount(codes, y)[codes] - y) / np.maximum(count - 1, 1)  # of the other rows of the same value
    if ((count > 1) * (y - mean) ** 2 + (count == 1) * (y - y.mean()) ** 2).mean() <= (1 - ALIKE) * y.var():
        return True
    return ordered is not None and ordered.std() > 0 and abs(np.corrcoef(ordered, ranks)[0, 1]) >= ALIKE
