"""The short form of `make faults`: a few kills in a process of its own, as forks beside threads may hang."""

import subprocess
import sys


def test_killed_trainings_come_out_the_same():
    words = [sys.executable, "-m", "tests.faults.kills", "--kills", "3", "--seed", "5"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "3 of 3 kills resumed to the bit, no half file left"
