"""Cells in other processes and threads: the same numbers, anyone's backend, and a worker that dies."""

import os
import signal
import threading
from typing import ClassVar

import joblib
import pytest
from joblib import parallel_config, register_parallel_backend
from joblib.parallel import BACKENDS, ThreadingBackend

import gatewise as gw
from gatewise.comparison import cells, compare
from gatewise.estimators.registry import ESTIMATORS

from .conftest import ESTIMATORS as TEXTS
from .conftest import quick


def figures(summary):
    return {(cell["combination"], cell["seed"]): cell["test"] for cell in summary["cells"]}


def test_two_jobs_give_the_numbers_of_one(small, tmp_path):
    two = compare(quick(), tmp_path / "two", estimators=TEXTS, seeds=1, jobs=2)
    assert not two.failed
    assert len(two.summary["cells"]) == 2
    assert figures(two.summary).items() <= figures(small.summary).items()


def test_a_backend_of_the_users_own_serves(small, tmp_path, monkeypatch):
    threads = set()
    train = cells.train

    def noted(*args, **options):
        threads.add(threading.get_ident())
        return train(*args, **options)

    monkeypatch.setattr(cells, "train", noted)
    with parallel_config(backend="threading", n_jobs=2):
        found = compare(quick(), tmp_path / "threads", estimators=["enumeration"], seeds=2)
    assert threading.get_ident() not in threads
    assert threads
    assert figures(found.summary).items() <= figures(small.summary).items()  # though threads share torch's random state


class AllAtOnce(ThreadingBackend):
    """A backend that cannot give results one by one."""

    supports_return_generator = False
    batches: ClassVar[list[int]] = []

    def submit(self, func, callback=None):
        ours = [item for item in func.items if item[0].__module__.startswith("gatewise")]  # scikit-learn comes here too
        self.batches.extend([len(ours)] if ours else [])
        return super().submit(func, callback)


def test_a_backend_that_gives_its_results_at_the_end_serves(small, tmp_path, monkeypatch):
    monkeypatch.setitem(BACKENDS, "all-at-once", AllAtOnce)
    register_parallel_backend("all-at-once", AllAtOnce)
    with parallel_config(backend="all-at-once", n_jobs=2):
        with pytest.raises(ValueError, match="does not support"):
            joblib.Parallel(return_as="generator_unordered")
        found = compare(quick(), tmp_path / "out", objectives=["marginal"], seeds=2)
    assert AllAtOnce.batches == [1, 1]
    assert figures(found.summary).items() <= figures(small.summary).items()


class Killer(gw.estimators.Enumeration):
    """Ends its process, as the system does when memory is short."""

    name = "killer"

    def forward(self, *args, **options):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_does_not_lose_the_other_cells(small, tmp_path, monkeypatch):
    monkeypatch.setitem(ESTIMATORS._known, "killer", Killer)  # known here alone: it has to be sent along
    found = compare(quick(), tmp_path / "out", estimators=["killer", "enumeration"], seeds=1, jobs=2)
    (failed,) = found.failed
    assert failed["combination"] == "jensen killer"
    assert "ended from outside" in failed["reason"]
    kept = {key: value for key, value in figures(found.summary).items() if value is not None}
    assert len(kept) == 1
    assert kept.items() <= figures(small.summary).items()
    assert not list((tmp_path / "out/cells").glob(".*"))
