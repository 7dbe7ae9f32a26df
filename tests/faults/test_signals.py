"""The short form of `python -m tests.faults.signals`: what is imported, what writes, and what has workers."""

import shutil
import signal
import sys

import pytest

from .signals import COMMANDS, prepared, swept

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells when a process hears signals")
INT, TERM = signal.SIGINT, signal.SIGTERM


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signals")
    yield prepared(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize(
    ("name", "after", "number"),
    [
        *(("estimators", after, INT) for after in (0.0, 0.001, 0.003, 0.006, 0.01)),  # the first imports
        *[("estimators", 0.4, TERM), ("predict", 0.8, INT), ("audit", 2.5, TERM)],
    ],
)
def test_a_signal_is_one_line_and_nothing_is_half(given, name, after, number):
    status, wrong = swept(COMMANDS[name], given, after, number, to_all=False)
    assert wrong == []
    assert status in (0, 130 if number == INT else 143)


def test_workers_end_with_the_comparison_and_say_nothing_of_their_own(given):
    assert swept(COMMANDS["compare"], given, 3.0, INT, to_all=True)[1] == []
