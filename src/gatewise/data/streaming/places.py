"""What becomes of a row by its place alone, counted over all files of a table: no memory that rows add to.

Every place has draws of its own, and they are the same whatever was read before: a seed's stream of random numbers is
entered at the place's number.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Part = Literal["train", "validation", "test"]
"""What a row is for."""


def drawn(seed: tuple[int, ...], start: int, count: int) -> np.ndarray:
    """A uniform number of each of `count` places from `start` on, float64 in [0, 1)."""
    stream = np.random.PCG64(seed)
    stream.advance(start)  # a number of float64 takes one step of it
    return np.random.Generator(stream).random(count)


@dataclass(frozen=True)
class SplitByPlace:
    """Training, validation and test rows told apart by a draw for each place.

    A set has as many rows as chance gives it: a share p of N rows is p N, give or take √(p (1 - p) N). It is not
    stratified.

    Attributes:
        test_size: share of all rows.
        validation_size: share of the others.
        seed: of the draws.
    """

    test_size: float
    validation_size: float
    seed: int

    def of(self, part: Part, start: int, count: int) -> np.ndarray:
        """Which of `count` rows from place `start` on are of a part, bool `[count]`."""
        draws = drawn((self.seed, 0), start, count)
        if part == "test":
            return draws < self.test_size
        kept = self.test_size + (1 - self.test_size) * self.validation_size
        return draws >= kept if part == "train" else (draws >= self.test_size) & (draws < kept)
