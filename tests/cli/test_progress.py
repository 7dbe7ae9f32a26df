"""Where there is no terminal, a line every few seconds tells how far training is."""

import io

import pytest
from rich.console import Console

from gatewise.cli import progress

METRICS = {"temperature": None, "train_gate_entropy": 0.5, "train_experts_used": 3, "validation_nll": 1.0}
METRICS |= {"validation_accuracy": 0.5, "validation_experts_used": 3, "validation_dead_experts": 0}


@pytest.fixture
def lines(monkeypatch):
    """What is printed of epochs that take so many seconds each."""

    def run(epochs, seconds):
        now, out = [100.0], io.StringIO()
        monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
        watcher = progress.Lines(Console(file=out, markup=False, highlight=False, width=200))
        watcher.on_start(epochs, 1)
        for epoch in range(1, epochs + 1):
            watcher.on_epoch({"epoch": epoch, **METRICS})
            now[0] += seconds
        watcher.on_end()
        return [int(line.split()[1].split("/")[0]) for line in out.getvalue().splitlines()]

    return run


def test_quick_epochs_have_a_line_every_few_seconds(lines):
    found = lines(300, 0.1)
    assert found[0] == 1
    assert found[-1] == 300
    assert len(found) == pytest.approx(300 * 0.1 / progress.SECONDS + 1, abs=1)


def test_slow_epochs_have_a_line_each_and_the_last_is_not_said_twice(lines):
    assert lines(4, 60) == [1, 2, 3, 4]
    assert lines(1, 0.1) == [1]
