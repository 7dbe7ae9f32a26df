"""Rows on their way to a model: read and prepared in a thread ahead of the model, in batches of one size."""

import itertools
import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

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
