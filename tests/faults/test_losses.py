"""The short form of `make faults`: one kill of one of two processes, in a process of its own."""

import subprocess
import sys


def test_training_goes_on_where_a_process_is_lost():
    words = [sys.executable, "-m", "tests.faults.losses", "--kills", "1", "--seed", "1"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith(
        "1 of 1 trainings of two processes went on by themselves, to the bit"
    )
