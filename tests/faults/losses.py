"""One of two processes that train together killed by SIGKILL at a random instant: all start again, to the bit.

    python -m tests.faults.losses --kills 20 [--spread]

Every training is one command, which nobody helps: `gatewise train --processes 2`, or in turn
`torchrun --nproc-per-node 2 --max-restarts 3 -m gatewise train`, with checkpoints after every step. One of the two
processes, by chance, is killed: at a step drawn evenly, or in turn at an instant drawn evenly over the time from their
start to their end, most of which they import. The command has to end with status 0, leave no process behind, and give
what a training of two processes gives that nobody killed, compared as in `tests.faults.kills`. With `--spread` each of
the two holds half of the experts, and a checkpoint is written by both.
"""

import argparse
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from torch.distributed.run import main as torchrun

from tests.faults.kills import begin, contents, end, place, words, write_table

WAYS: dict[str, list[str]] = {"--processes": [], "torchrun": [], "torchrun, a port": ["--master-port"]}
"""Commands, and options of torchrun: where a port is given it keeps another kind of store."""


SPREAD = ["--set", "expert_parallel=2"]


def start(way: str, table: Path, run: Path, log: Path, besides: Sequence[str]) -> int:
    """Begin a training by two processes; returns the process that starts them."""
    told = [*words(table, run), *besides]
    if way == "--processes":
        return begin([*told, "--processes", "2"], log)
    options = ["--nproc-per-node", "2", "--max-restarts", "3"]
    for name in WAYS[way]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            options += [name, str(free.getsockname()[1])]
    return begin([*options, "-m", "gatewise", *told], log, torchrun)


def children(process: int) -> list[int]:
    """The processes that it has started, oldest first."""
    return sorted(number for number, parent in parents() if parent == process)


def parents() -> Iterator[tuple[int, int]]:
    """Every process of this machine that is not dead, and its parent."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has ended meanwhile
            continue
        if state != "Z":
            yield int(path.parent.name), int(parent)


def wait_for_two(process: int) -> list[int]:
    """The two processes that train, once they are there."""
    while len(found := children(process)) < 2:
        if os.waitpid(process, os.WNOHANG) != (0, 0):
            raise RuntimeError("it ended before it had started two processes")
        time.sleep(0.01)
    return found


def reached(run: Path, step: int) -> bool:
    """Whether a training has kept this step, or a later one."""
    return any(int(path.name.split("-")[1]) >= step for path in run.glob("checkpoints/step-*"))


def kill_one(process: int, draw: random.Random, ready: Callable[[], bool]) -> list[int] | None:
    """Kill one of its two processes as soon as it is time; which they were, or None if it had ended before."""
    two = wait_for_two(process)
    victim = draw.choice(two)
    while not ready():
        time.sleep(0.002)
        if victim not in children(process):
            return None
    os.kill(victim, signal.SIGKILL)
    return two


def what_is_wrong(expected: dict[str, Any], run: Path, log: Path, status: int, two: list[int]) -> str:
    """In a few words; nothing if all is as it should be."""
    said = log.read_text().strip().splitlines()
    if status:
        return f"exit {status}: {said[-1] if said else ''}"
    if left := [number for number, _ in parents() if number in two]:
        return f"processes left: {left}"
    found = contents(run)
    return ", ".join(key for key in expected.keys() | found.keys() if found.get(key) != expected.get(key))


def run_losses(kills: int, seed: int, folder: Path, besides: Sequence[str] = ()) -> tuple[int, Counter[str]]:
    """Kill so many processes; how many trainings came out the same, and where they were."""
    draw, table, log, run = random.Random(seed), write_table(folder / "table.csv"), folder / "log", folder / "run"
    whole = start("--processes", table, folder / "whole", log, besides)
    wait_for_two(whole)
    started = time.monotonic()
    assert end(whole) == 0, log.read_text()
    lasts, expected = time.monotonic() - started, contents(folder / "whole")
    last = expected["metrics.jsonl"][-1]["step"]
    print(f"two processes take {lasts:.1f} s; seed {seed}", flush=True)
    same, places, done = 0, Counter(), 0
    while done < kills:
        shutil.rmtree(run, ignore_errors=True)
        way = [*WAYS][done % len(WAYS)]
        process = start(way, table, run, log, besides)
        if done % 2:
            wait_for_two(process)
            at = time.monotonic() + draw.uniform(0, lasts)
            two = kill_one(process, draw, lambda at=at: time.monotonic() >= at)
        else:
            step = draw.randint(1, last)
            two = kill_one(process, draw, lambda step=step: reached(run, step))
        where = place(run)
        status = end(process)
        if two is None:
            continue
        done += 1
        places[where] += 1
        wrong = what_is_wrong(expected, run, log, status, two)
        same += not wrong
        print(f"kill {done}, {way}, {where}: {wrong or 'the same'}", flush=True)
    return same, places


def main() -> None:
    """Print the figures; exit 1 where a run did not come out the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--spread", action="store_true", help="each process holds half of the experts")
    chosen = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="losses-") as folder:
        same, places = run_losses(chosen.kills, chosen.seed, Path(folder), SPREAD if chosen.spread else ())
    for where, count in places.most_common():
        print(f"  {count:3} killed {where}")
    print(f"{same} of {chosen.kills} trainings of two processes went on by themselves, to the bit, no half file left")
    sys.exit(same != chosen.kills)


if __name__ == "__main__":
    main()
