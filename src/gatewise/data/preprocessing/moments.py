"""Count, mean and variance of numbers that come in parts, without rounding that grows with them."""

from collections.abc import Iterable
from typing import Any

import numpy as np


class Moments:
    """Of each column of arrays `[N, D]` that are added one after the other, or of arrays `[N]`; NaN is missing.

    Two parts are put together by the differences of their means (Chan, Golub and LeVeque 1983), so that numbers far
    from 0 lose no digits.

    Attributes:
        count: of the numbers that are there, `[D]` or `[]`.
        mean: of them.
        squares: the sum of squared deviations from the mean.
    """

    def __init__(self):
        self.count: Any = 0
        self.mean: Any = 0.0
        self.squares: Any = 0.0

    def add(self, x: np.ndarray) -> None:
        """Take in float64 `[N, D]` or `[N]`."""
        count = np.asarray((~np.isnan(x)).sum(axis=0))
        mean = np.nansum(x, axis=0) / np.maximum(count, 1)
        self.merge(count, mean, np.nansum((x - mean) ** 2, axis=0))

    def merge(self, count: Any, mean: Any, squares: Any) -> None:
        """Take in numbers of which these are the count, the mean and the squared deviations."""
        whole = self.count + count
        share = np.divide(count, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole > 0))
        apart = mean - self.mean
        self.squares = self.squares + squares + apart**2 * self.count * share
        self.mean = self.mean + apart * share
        self.count = whole

    @classmethod
    def of(cls, parts: Iterable[np.ndarray]) -> "Moments":
        """Of all parts."""
        found = cls()
        for part in parts:
            found.add(part)
        return found

    @property
    def variance(self) -> Any:
        """The mean squared deviation."""
        return self.squares / np.maximum(self.count, 1)
