"""A command of gatewise, run by several processes on this machine: torchrun without its command line."""

import logging
import os
import signal
from collections.abc import Sequence

from torch.distributed import run as torchrun
from torch.distributed.elastic.agent.server.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

FINISHING = "300"
"""Seconds that processes have to finish when they are asked to stop, before they are killed."""


def launch(words: Sequence[str], processes: int) -> int:
    """Run `python -m gatewise` with these words in so many processes, and return the exit status of the command.

    Each has its part of the machine's cores as threads, unless OMP_NUM_THREADS says otherwise. Where one fails, the
    status is that of the first that did.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, _cores() // processes)))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", FINISHING)
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # the processes have said what there is to say
    options = ["--standalone", "--nproc-per-node", str(processes), "--max-restarts", "0", "-m", "gatewise"]
    try:
        torchrun.run(torchrun.parse_args([*options, *words]))
    except ChildFailedError as failed:
        code = failed.get_first_failure()[1].exitcode
        return 128 - code if code < 0 else code
    except SignalException as stopped:
        return 128 + int(signal.Signals(stopped.sigval))
    return 0


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
