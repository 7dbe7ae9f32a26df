"""Cells trained side by side by joblib; one that ends its process does not take the others with it."""

import functools
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from typing import Any

from joblib import Parallel, delayed

from gatewise.comparison.cells import Cell, brief, registered, train_cell


def train_cells(cells: Sequence[Cell], jobs: int | None, on_done: Callable[[Cell, str | None], None]) -> None:
    """Train cells, and tell of each when it is done: with the reason if it failed, else with None.

    A worker that is ended from outside breaks the whole pool. Those cells that were in training then are tried once
    more, one at a time in a process of their own; the one that ends it again has failed, and the rest go on.

    Args:
        cells: what to train.
        jobs: joblib's n_jobs.
        on_done: called in this process.
    """
    waiting = dict(enumerate(cells))
    for cell in cells:
        shutil.rmtree(cell.part, ignore_errors=True)  # what an earlier stop left; from here on it marks those begun

    def run(indices: Sequence[int], n_jobs: int | None) -> str | None:
        """Train some; returns what broke the pool, or None."""
        results = _results([(index, waiting[index]) for index in indices], n_jobs)
        while True:
            try:
                index, reason = next(results)
            except StopIteration:
                return None
            except BrokenExecutor:
                return "it was ended from outside, or memory did not suffice"
            except Exception as error:  # whatever another backend raises: the tasks themselves raise nothing
                return brief(error)
            on_done(waiting.pop(index), reason)

    try:
        while waiting and run(list(waiting), jobs) is not None:
            begun = [index for index, cell in waiting.items() if cell.part.exists()]
            for index in begun or list(waiting):
                broken = run(
                    [index], None if jobs is None else max(2, jobs)
                )  # by 1 it would be trained in this process
                if broken is not None:
                    on_done(waiting.pop(index), f"the process that trained it is gone: {broken}")
    finally:
        for cell in cells:
            shutil.rmtree(cell.part, ignore_errors=True)


def _results(cells: list[tuple[int, Cell]], n_jobs: int | None) -> Iterator[tuple[int, str | None]]:
    # a batch of one, so that a process has begun no cell but the one that it trains
    settings: dict[str, Any] = {"n_jobs": n_jobs, "batch_size": 1}
    tasks = (delayed(_numbered)(index, cell, registered(cell.combination), os.getpid()) for index, cell in cells)
    try:
        parallel = Parallel(return_as="generator_unordered", **settings)
    except ValueError:  # a backend that gives results all at once, at the end
        parallel = Parallel(**settings)
    yield from parallel(tasks)


def _numbered(index: int, cell: Cell, classes: Sequence[type], master: int) -> tuple[int, str | None]:
    if os.getppid() == master:
        end_with(master)
    return index, train_cell(cell, classes)


@functools.cache
def end_with(master: int) -> None:
    """Have this worker end with the process that started it, which may be killed; Ctrl-C is that process's matter."""

    def watch() -> None:
        while os.getppid() == master:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
