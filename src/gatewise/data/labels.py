"""Classes: between labels as written and the numbers 0 to C − 1."""

import math
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import numpy as np
import polars as pl

from gatewise.data.readings import Place
from gatewise.data.text_types import CODE, TRUTH
from gatewise.errors import GatewiseError
from gatewise.wording import listing, shown


def spelled(labels: pl.Series) -> pl.Series:
    """All labels of a column, as text, each in one spelling: where all are numbers, 1.0 as 1, and True as true.

    A label with zeros before its digits is a code, and the column is then left as it is.
    """
    there = labels.filter(labels != "")
    if there.str.to_lowercase().is_in([*TRUTH]).all():
        return labels.str.to_lowercase()
    numbers = there.cast(pl.Float64, strict=False)
    if numbers.has_nulls() or there.str.contains(CODE).any():
        return labels
    return labels.str.replace(r"^([+-]?\d+)\.0*$", "${1}").str.replace(r"^([+-]?\d+\.\d*[1-9])0+$", "${1}")


def _meaning(label: str) -> Decimal | None:
    """What a label stands for that is a number, or true or false."""
    lower = label.strip().lower()
    try:
        found = Decimal(TRUTH[lower]) if lower in TRUTH else Decimal(lower)
    except (InvalidOperation, ValueError):
        return None
    return found if found.is_finite() else None


@dataclass(frozen=True)
class Classes:
    """The classes' names, in the order of the numbers that stand for them.

    A label that is no name is known by what it means, where that is one class: 1, 1.0 and true. A code such as 007 is
    none but itself.
    """

    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def from_labels(cls, labels: np.ndarray, where: str = "the data") -> "Classes":
        """The classes among labels [N]: by value where all are finite numbers, else by letters.

        Raises GatewiseError where there are fewer than two; `where` says in the message what was read.
        """
        names = sorted(set(labels.tolist()))
        if len(names) < 2:
            held = f"only one class, {shown(names[0])}" if names else "no labels"
            raise GatewiseError(f"{where}: the target has {held}; a classifier needs rows of two classes")
        values = [_number(name) for name in names]
        if all(math.isfinite(value) for value in values):
            names = [name for _, name in sorted(zip(values, names, strict=True))]
        return cls(tuple(names))

    def encode(self, labels: np.ndarray, where: str | Place = "the data") -> np.ndarray:
        """The classes' numbers, int64 [N]; raises GatewiseError for a label that is none of them.

        `where` says in the message what was read, or in words where a row is.
        """
        codes = self.find(labels)
        if (unseen := codes < 0).any():
            row = int(unseen.argmax())
            place = where(row) if callable(where) else f"{where}, row {row + 1}"
            raise GatewiseError(
                f"{place}: the label {shown(labels[row])} is none of the classes known "
                f"({listing(self.names)}); mend the label or drop its rows"
            )
        return codes

    def find(self, labels: np.ndarray) -> np.ndarray:
        """The classes' numbers, int64 [N]; -1 for a label that is none of them."""
        number = {name: i for i, name in enumerate(self.names)}
        number |= {label: self._by_meaning(label) for label in {*labels} - number.keys()}
        return np.fromiter((number[label] for label in labels), dtype=np.int64, count=len(labels))

    def _by_meaning(self, label: str) -> int:
        """The number of the one class that means the same; -1 where there is none, or several."""
        meaning = None if pl.Series([label]).str.contains(CODE)[0] else _meaning(label)
        found = [i for i, name in enumerate(self.names) if meaning is not None and _meaning(name) == meaning]
        return found[0] if len(found) == 1 else -1


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
