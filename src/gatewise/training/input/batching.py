"""Rows on their way to a model: read and prepared in a thread ahead of the model, in batches of one size."""

import itertools
import math
import queue
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from gatewise.distributed import Group, micro_batches

Rows = tuple[Tensor, Tensor]
"""x `[N, ...]` and classes y int64 `[N]`."""

T = TypeVar("T")


def rebatched(parts: Iterable[tuple[Tensor, ...]], size: int | Iterable[int]) -> Iterator[tuple[Tensor, ...]]:
    """The same rows, in tensors of `size` rows, the last of fewer: a model's answer does not depend on the parts.

    Matrix products differ in their last bits with the number of rows and with where the memory begins, so every batch
    is a tensor of its own. Several sizes are those of one batch after the other.
    """
    sizes = itertools.repeat(size) if isinstance(size, int) else iter(size)
    held: list[tuple[Tensor, ...]] = []
    count, size = 0, 0
    for part in parts:
        start = 0
        while start < len(part[0]):
            size = size if held else next(sizes)
            piece = tuple(each[start : start + size - count] for each in part)
            held.append(piece)
            start, count = start + len(piece[0]), count + len(piece[0])
            if count == size:
                yield tuple(torch.cat(each) for each in zip(*held, strict=True))
                held, count = [], 0
    if held:
        yield tuple(torch.cat(each) for each in zip(*held, strict=True))


def prefetched(items: Iterable[T], ahead: int = 2) -> Generator[T]:
    """The same items, made in a thread while the ones before are in use; at most `ahead` of them wait.

    What `items` raises is raised here. Closed early, the thread ends with the item that it is at.
    """
    made: queue.Queue[tuple[str, object]] = queue.Queue(ahead)
    stop = threading.Event()

    def put(kind: str, value: object = None) -> bool:
        while not stop.is_set():
            try:
                made.put((kind, value), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                if not put("item", item):
                    break
            else:
                put("end")
        except BaseException as error:  # whatever it is, it is raised where the items are used
            put("error", error)
        finally:
            getattr(iterator, "close", lambda: None)()

    thread = threading.Thread(target=work, name="gatewise-reader", daemon=True)
    thread.start()
    try:
        while (entry := made.get())[0] == "item":
            yield entry[1]  # pyrefly: ignore
        if entry[0] == "error":
            raise entry[1]  # pyrefly: ignore
    finally:
        stop.set()
        thread.join()


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


def own_rows(rows: Tensor, pieces: int, group: Group) -> Tensor:
    """Of a whole batch `[B]` what this process takes, in the order of the micro-batches."""
    if group.size == 1:
        return rows
    return torch.cat([rows[part.start : part.start + part.rows] for part in micro_batches(len(rows), pieces, group)])


class Shares:
    """The batches of an epoch, and what this process takes of the rows in their order.

    Args:
        rows: of each batch.
        pieces: micro-batches that a batch is cut into.
        group: the processes.
    """

    def __init__(self, rows: Sequence[int], pieces: int, group: Group):
        self.rows, self.ends = np.array(rows), np.cumsum(rows)
        self.masks = {size: np.zeros(size, dtype=bool) for size in {*rows}}
        for size, mask in self.masks.items():
            mask[own_rows(torch.arange(size), pieces, group).numpy()] = True

    def start(self, batch: int) -> int:
        """How many rows come before a batch."""
        return int(self.ends[batch - 1]) if batch else 0

    def sizes(self, skip: int) -> list[int]:
        """How many rows this process has of each batch after the first `skip`."""
        own = {size: int(mask.sum()) for size, mask in self.masks.items()}
        return [own[size] for size in self.rows[skip:].tolist()]

    def own(self, turns: np.ndarray) -> np.ndarray:
        """Which rows of these turns in the order are this process's, bool, of int64."""
        batch = np.searchsorted(self.ends, turns, side="right")
        sizes = self.rows[batch]
        places, found = turns - (self.ends[batch] - sizes), np.zeros(len(turns), dtype=bool)
        for size, mask in self.masks.items():
            there = sizes == size
            found[there] = mask[places[there]]
        return found
