"""How long a training is and how its rows are cut into batches, where that is not set; and its seeds."""

import itertools
import math

import torch
from torch import Tensor

Rows = tuple[Tensor, Tensor]
"""x `[N, ...]` and classes y int64 `[N]`."""


def seeds(seed: int, count: int) -> list[int]:
    """Seeds of streams that have nothing to do with each other, from one."""
    return torch.randint(2**62, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def default_batch_size(rows: int) -> int:
    """A twentieth of the rows, as a power of two from 64 to 256.

    Not fewer, as the balance of a smaller batch is mostly chance: a gate that is sure and balanced over all rows has an
    expected importance of about (K - 1) / B in a batch of B, and is pressed to choose less.
    """
    return 2 ** round(math.log2(min(max(rows / 20, 64), 256)))


def default_epochs(steps_per_epoch: int) -> int:
    """As many as make 2000 steps, from 15 to 300."""
    return min(max(round(2000 / steps_per_epoch), 15), 300)


def default_patience(epochs: int) -> int:
    """A quarter of the epochs, at least 5."""
    return max(5, epochs // 4)


def batch_bounds(rows: int, batch_size: int) -> tuple[int, ...]:
    """Where an epoch's rows are cut into batches; a last batch of at most half the size joins the one before it."""
    return tuple(range(batch_size, rows - batch_size // 2, batch_size))


def batch_sizes(rows: int, batch_size: int) -> list[int]:
    """How many rows each batch of an epoch has."""
    bounds = (0, *batch_bounds(rows, batch_size), rows)
    return [end - start for start, end in itertools.pairwise(bounds)]
