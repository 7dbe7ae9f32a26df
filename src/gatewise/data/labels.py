"""Classes: between labels as written and the numbers 0 to C − 1."""

import math
from dataclasses import dataclass

import numpy as np

from gatewise.data.readings import Place
from gatewise.errors import GatewiseError
from gatewise.wording import listing, shown


@dataclass(frozen=True)
class Classes:
    """The classes' names, in the order of the numbers that stand for them."""

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
        number = {name: i for i, name in enumerate(self.names)}
        codes = np.fromiter((number.get(label, -1) for label in labels), dtype=np.int64, count=len(labels))
        unseen = codes < 0
        if unseen.any():
            row = int(unseen.argmax())
            place = where(row) if callable(where) else f"{where}, row {row + 1}"
            raise GatewiseError(
                f"{place}: the label {shown(labels[row])} is none of the classes known "
                f"({listing(self.names)}); mend the label or drop its rows"
            )
        return codes


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
