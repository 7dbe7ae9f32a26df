"""`gatewise train --processes 2`: exit statuses, a stop that is kept, and no process left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gatewise.distributed.launch import status_of

WORDS = ["train", "wine", "--processes", "2", "--experts", "2", "--epochs", "4000"]
KEYS = ["patience=0", "starts=1", "checkpoint_seconds=0", "expert_hidden=[4]"]

WAIT = 600
"""Seconds, at most: each of three processes has to import torch, which a busy machine takes its time for."""
LONG = pytest.mark.skipif("GATEWISE_TEST_STEPS" not in os.environ, reason="part of make processes")


def begin(*words, keys=(), **besides):
    """The command line in a process of its own."""
    told = [sys.executable, "-m", "gatewise", *map(str, words), *(w for key in keys for w in ("--set", key))]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(told, env=os.environ | {"OMP_NUM_THREADS": "1"}, **pipes, **besides)


def of(folder):
    """The processes that have this folder in their command line, where the system tells."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if os.fsencode(folder) in path.read_bytes():
                found.append(path)
    return found


@LONG
def test_a_mistake_is_one_line_and_nothing_is_left(tmp_path):
    process = begin(*WORDS, "--out", tmp_path / "run", keys=["batch_size=1"])
    out, err = process.communicate(timeout=WAIT)
    assert (process.returncode, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("gatewise: a step on 1 row in 1 micro-batch does not give")
    assert not (tmp_path / "run").exists()
    assert of(tmp_path) == []


def test_a_stop_is_kept_and_nothing_is_left(tmp_path):
    run = tmp_path / "run"
    process = begin(*WORDS, "--out", run, keys=KEYS)
    waits_until = time.monotonic() + WAIT
    while not (run / "metrics.jsonl").exists() or not (run / "metrics.jsonl").stat().st_size:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < waits_until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=WAIT)
    assert process.returncode == 130, err
    assert f"go on with: gatewise train --resume {run}" in err
    assert len(list((run / "checkpoints").iterdir())) == 1
    assert of(tmp_path) == []


@pytest.mark.parametrize(
    ("codes", "status"),
    [
        ([2, -signal.SIGTERM], (2, None)),  # a mistake, which the other had no time to see
        ([1, -signal.SIGKILL], (137, "SIGKILL")),  # one was killed, the other lost it
        ([-signal.SIGSEGV, 130], (139, "SIGSEGV")),  # the other was asked to stop for that reason
        ([130, 1], (130, None)),
        ([-signal.SIGTERM, 1], (143, None)),  # one was asked to end, before it could say so
        ([1], (1, None)),
    ],
)
def test_what_came_of_several_is_one_status(codes, status):
    assert status_of(codes) == status
    assert status_of(codes[::-1]) == status
