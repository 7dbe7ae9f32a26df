"""Rows for training, validation and test, with every class in proportion."""

from typing import NamedTuple

import numpy as np
from sklearn.model_selection import train_test_split

from gatewise.errors import GatewiseError
from gatewise.wording import shown


class TooRare(GatewiseError):
    """A class has too few rows to be in every part."""


class Split(NamedTuple):
    """Three disjoint sets of rows, int64 and ascending, that together are all rows."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split(labels: np.ndarray, *, test_size: float, validation_size: float, seed: int) -> Split:
    """Splits the rows of labels [N], stratified by class and reproducible by the seed.

    `test_size` is a fraction of all rows, `validation_size` a fraction of what remains after it; 0 leaves
    that set empty. Raises GatewiseError for a fraction or a seed out of range, and where a class has, or a
    set would have, too few rows to stratify.
    """
    rows = np.arange(len(labels))
    rest, test = _take(rows, labels, test_size, seed, "test_size")
    train, validation = _take(rest, labels, validation_size, seed, "validation_size")
    return Split(train, validation, test)


def _take(
    rows: np.ndarray, labels: np.ndarray, fraction: float, seed: int, option: str
) -> tuple[np.ndarray, np.ndarray]:
    """The rows that stay and the rows taken out."""
    if not 0 <= fraction < 1:
        raise GatewiseError(f"{option} is {fraction}; give a fraction of the rows, 0 <= {option} < 1")
    if not 0 <= seed < 2**32:
        raise GatewiseError(f"the seed is {seed}; give one from 0 to {2**32 - 1}")
    if fraction == 0:
        return rows, rows[:0]
    names, codes, counts = np.unique(labels[rows], return_inverse=True, return_counts=True)
    if counts.min(initial=2) < 2:
        rare = {name: int((labels == name).sum()) for name in names[counts < 2].tolist()}
        said = [f"class {shown(name)} has only {total} row{'s' * (total > 1)}" for name, total in rare.items()]
        more = f", … ({len(said)} classes in all)" if len(said) > 5 else ""
        raise TooRare(
            f"{', '.join(said[:5])}{more}, too few to be in every part of a split; add rows, drop such classes, or "
            "merge them with others"
        )
    taken = int(np.ceil(fraction * len(rows)))
    if min(taken, len(rows) - taken) < len(names):
        raise GatewiseError(
            f"{option} {fraction} splits {len(rows)} rows into {len(rows) - taken} and {taken}, fewer than the "
            f"{len(names)} classes on one side; change {option} or give more rows"
        )
    stay, out = train_test_split(rows, test_size=fraction, stratify=codes.tolist(), random_state=seed)
    return np.sort(stay), np.sort(out)
