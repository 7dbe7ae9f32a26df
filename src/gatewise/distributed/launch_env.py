"""The environment that a launcher gives a process: torchrun, `gatewise train --processes`, or none."""

import os
import signal
import threading
import time

LAUNCHER, LAUNCH, RESTART = "GATEWISE_LAUNCHER", "GATEWISE_LAUNCH", "GATEWISE_RESTART"
"""What `gatewise train --processes` tells those that it starts: its process, a name, and how often it has before."""


def launched() -> bool:
    """Whether torchrun has started this process, by whatever command."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_leader() -> bool:
    """Whether this process is the first that torchrun started, or was not started by it."""
    return not launched() or os.environ.get("RANK", "0") == "0"


def end_with_launcher() -> None:
    """Have this process asked to stop, by SIGTERM, once the `gatewise train --processes` that started it is gone."""
    launcher = os.environ.get(LAUNCHER)
    if launcher is None:
        return

    def watch() -> None:
        while os.getppid() == int(launcher):
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
