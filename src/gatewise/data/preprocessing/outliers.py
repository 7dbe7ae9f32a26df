"""Numbers far outside what most rows have, brought near: so that one of them decides no scale and no prediction.

A perceptron goes on in straight lines where it saw no rows, so what it says of a number a hundred standard deviations
out is a hundred times wrong. Between the quartiles of a column lies half of its rows, whatever the other half is; by
that width is measured what is far. A number within `REACH` of it beyond a quartile, and within `UNSEEN` of it beyond
all that was seen, is left as it is, and what is further out comes ever nearer to `ROOM` of it beyond, in its order.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

REACH, UNSEEN, ROOM = 3.0, 0.5, 0.5
"""Of normal numbers all within 4.7 standard deviations stay as they are in training: see docs/defaults.md."""
MOST = 2**20
NORMAL = 1.3489795003921634
"""The interquartile range of a normal distribution, in standard deviations."""


@dataclass(frozen=True, eq=False)
class Squash:
    """x within [low, high] as it is, high + room e / (room + e) for what is e beyond, and below low alike.

    Attributes:
        low: float64, `[D]` or `[]`.
        high: likewise.
        room: likewise; 0 for a column that never varied, whose weights no row has taught: all is then `low`.
    """

    low: np.ndarray
    high: np.ndarray
    room: np.ndarray

    @classmethod
    def of(cls, columns: Sequence[np.ndarray], ranges: Sequence[tuple[float, float]] | None = None) -> "Squash":
        """From the numbers of each column, NaN where one is missing, or from some of them and the range of all."""
        found = np.array([_quartiles(np.asarray(x, dtype=np.float64)) for x in columns]).reshape(-1, 2)
        seen = np.array([_range(x) for x in columns] if ranges is None else ranges, dtype=np.float64).reshape(-1, 2)
        width = found[:, 1] - found[:, 0]
        low = np.maximum(found[:, 0] - REACH * width, seen[:, 0] - UNSEEN * width)
        high = np.minimum(found[:, 1] + REACH * width, seen[:, 1] + UNSEEN * width)
        return cls(low, high, ROOM * width)

    def __call__(self, x: np.ndarray, column: int | None = None) -> np.ndarray:
        """The numbers `[..., D]`, or `[N]` of one column, as float64; itself where none is far out."""
        low, high, room = (each if column is None else each[column] for each in (self.low, self.high, self.room))
        far = (x < low) | (x > high)
        if not far.any():
            return x
        out = x.astype(np.float64)
        low, high, room = (np.broadcast_to(each, x.shape)[far] for each in (low, high, room))
        near = np.clip(out[far], low, high)
        beyond = out[far] - near
        out[far] = near + room * (beyond / (room + np.abs(beyond)))
        return out

    def described(self) -> dict[str, Any]:
        """As plain numbers, for a file."""
        return {"low": self.low.tolist(), "high": self.high.tolist(), "room": self.room.tolist()}

    @classmethod
    def parsed(cls, described: Mapping[str, Any] | None, shape: tuple[int, ...]) -> "Squash | None":
        """What `described` gave; None where there was none. Raises ValueError for what cannot be."""
        if described is None:
            return None
        low, high, room = (np.array(described[name], dtype=np.float64) for name in ("low", "high", "room"))
        if not (low.shape == high.shape == room.shape == shape):
            raise ValueError("the reach of outliers does not fit the columns")
        if not (np.isfinite([low, high, room]).all() and (low <= high).all() and (room >= 0).all()):
            raise ValueError("the reach of outliers is not finite numbers in order")
        return cls(low, high, room)


def _range(x: np.ndarray) -> tuple[float, float]:
    """The least and the greatest number; 0 and 0 of a column without one."""
    known = x[~np.isnan(x)]
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)


def median_and_spread(parts: Iterable[np.ndarray]) -> tuple[float, float]:
    """The median of numbers `[N]` in parts, and their interquartile range as the deviation of normal numbers.

    Of more than `MOST` numbers evenly spaced ones tell.
    """
    kept, step = np.empty(0), 1
    for part in parts:
        kept = np.concatenate([kept, part[::step]])
        while len(kept) > MOST:
            kept, step = kept[::2], 2 * step
    low, high = _quartiles(kept)
    return float(np.median(kept)), (high - low) / NORMAL


def _quartiles(x: np.ndarray) -> tuple[float, float]:
    """The quartiles of numbers `[N]`; where both are one value, its distance to those of the others.

    So a column that is mostly 0 keeps what the rest of it tells. A column without a number has 0 and 0.
    """
    x = x[~np.isnan(x)]
    if not len(x):
        return 0.0, 0.0
    low, high = np.quantile(x, (0.25, 0.75))
    others = x[x != low]
    if low == high and len(others):
        further = np.quantile(others, (0.25, 0.75))
        return min(low, further[0]), max(high, further[1])
    return float(low), float(high)
