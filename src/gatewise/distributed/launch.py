"""A command of gatewise, run by several processes on this machine: torchrun without its command line."""

import logging
import os
import secrets
import signal
import sys
from collections.abc import Sequence

from torch.distributed import run as torchrun
from torch.distributed.elastic.agent.server.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from gatewise.distributed.launch_env import LAUNCH, LAUNCHER, RESTART

FINISHING = "300"
"""Seconds that processes have to finish when they are asked to stop, before they are killed."""
RESTARTS = 3
"""How often all are started again where one was killed."""
ASKED = {signal.SIGINT, signal.SIGTERM}
"""Signals that ask a process to end, which is no accident."""


def launch(words: Sequence[str], processes: int, threads: int) -> int:
    """Run `python -m gatewise` with these words in so many processes, and return the exit status of the command.

    Each has so many threads, unless OMP_NUM_THREADS says otherwise. Where one is killed, all
    are started again and go on from the last checkpoint, at most `RESTARTS` times. torchrun's own restarts are not
    used, as it would repeat mistakes of the user too.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", FINISHING)
    os.environ |= {LAUNCHER: str(os.getpid()), LAUNCH: secrets.token_hex(8)}
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # the processes have said what there is to say
    options = ["--standalone", "--nproc-per-node", str(processes), "--max-restarts", "0", "-m", "gatewise"]
    try:
        for restart in range(RESTARTS + 1):
            os.environ[RESTART] = str(restart)
            status, killer = _status(torchrun.parse_args([*options, *words]))
            if killer is None or restart == RESTARTS:
                return status
            print(
                f"gatewise: a process was killed by {killer}; all {processes} start again ({restart + 1} of at most "
                f"{RESTARTS} times) and go on from the last checkpoint",
                file=sys.stderr,
                flush=True,
            )
    except SignalException as stopped:
        return 128 + int(signal.Signals(stopped.sigval))
    return 0


def _status(arguments: object) -> tuple[int, str | None]:
    """Run torchrun: the exit status of the command, and the signal that killed a process, if any."""
    try:
        torchrun.run(arguments)
    except ChildFailedError as failed:
        return status_of([failure.exitcode for failure in failed.failures.values()])
    return 0, None


def status_of(codes: Sequence[int]) -> tuple[int, str | None]:
    """What came of processes of which some failed.

    Args:
        codes: exit statuses of those, in any order; minus the signal for one that a signal ended.

    Returns:
        The status of all, and the name of the signal that killed one, where it was an accident: one that has made a
        mistake (2) knows better than one that is killed while it waits, and that one better than those that lost it (1)
        or were asked to stop (130, 143) for that reason.
    """
    killed = [-code for code in codes if code < 0 and -code not in ASKED]
    if 2 in codes:
        return 2, None
    if killed:
        return 128 + killed[0], signal.Signals(killed[0]).name
    return max(code if code > 0 else 128 - code for code in codes), None
