"""SIGINT and SIGTERM at instants drawn over the whole time of every command: one line, the right status, nothing half.

    python -m tests.faults.signals --instants 20

A command is begun in a session of its own, and its time counts from when it hears signals (before that Python itself
is what is stopped). The signal goes to the process, or to all of its session as a terminal's Ctrl-C does. It then has
to end with 130 or 143 and one line about it, or with 0 where it had finished; and there must be no temporary file and
no process left, every file whole or as it was before. A training that says how to go on does so, and ends finished.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from torch.export import load

from .kills import write_table

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
WAIT = 300
"""Seconds for a command to end, at most."""
TAG = "GATEWISE_TEST_SIGNALS"
SMALL = ["--set", "expert_hidden=[4]", "--set", "threads=1", "--set", "batch_size=32", "--set", "patience=0"]

Check = Callable[[Path], None]


def whole_pages(folder: Path) -> None:
    """Pages and JSON in a folder are whole."""
    for page in folder.rglob("*.html"):
        assert page.read_text().rstrip().endswith("</html>"), page
    for path in folder.rglob("*.json"):
        assert isinstance(json.loads(path.read_text()), dict), path


def whole_table(folder: Path) -> None:
    """The predictions are all there, or what was there before is."""
    path = folder / "predicted.csv"
    assert path.read_text() == "mine\n" or len(pl.read_csv(path)) == 200


def whole_program(folder: Path) -> None:
    """An exported program is there entirely or not at all."""
    for path in folder.glob("*.pt2"):
        load(path)


@dataclass(frozen=True)
class Command:
    """A command line, and what must hold of the folder {out} that it may write into, whenever it was stopped."""

    words: str
    check: Check = whole_pages

    def in_folders(self, given: dict[str, Path]) -> list[str]:
        """Its words."""
        return [word.format(**given) for word in self.words.split()]


FEW = f"iris --epochs 3 --experts 2 {' '.join(SMALL)}"
SHORT = f"train {{table}} --target y --epochs 8 --experts 3 --out {{out}}/run {' '.join(SMALL)}"
COMMANDS = {
    "estimators": Command("estimators"),
    "config": Command("config"),
    "doctor": Command("doctor"),
    "evaluate": Command("evaluate {run} {table}"),
    "predict": Command("predict {run} {table} -o {out}/predicted.csv", whole_table),
    "audit": Command("audit {run} --estimators reinmax,rebar --seconds 3 --out {out}/audit"),
    "export": Command("export {run} -o {out}/model.pt2", whole_program),
    "report": Command("report {run} {other} -o {out}/pages.html"),
    "compare": Command(f"compare {FEW} --seeds 2 --jobs 2 --out {{out}}/compare"),
    "compare in one process": Command(f"compare {FEW} --seeds 1 --jobs 1 --out {{out}}/compare"),
    "train": Command(SHORT),
    "train by two": Command(f"{SHORT} --processes 2"),
}


@dataclass
class Ended:
    """What came of a command that was signalled."""

    status: int
    out: str
    err: str
    left: list[int]

    @property
    def told(self) -> list[str]:
        """What it said of its being stopped."""
        return [line for line in self.err.splitlines() if line.startswith(("gatewise: ", "stopped"))]


def began(words: Sequence[str], tag: str) -> subprocess.Popen[str]:
    """A command in a session of its own, once it hears signals."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gatewise", *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {TAG: tag, "OMP_NUM_THREADS": "1"}, start_new_session=True,
    )  # fmt: skip
    caught, bit = Path(f"/proc/{process.pid}/status"), 1 << (signal.SIGTERM - 1)
    while process.poll() is None:
        with contextlib.suppress(OSError):
            found = [line for line in caught.read_text().splitlines() if line.startswith("SigCgt:")]
            if found and int(found[0].split()[1], 16) & bit:
                break
        time.sleep(0.002)
    return process


def signalled(words: Sequence[str], after: float, number: int, to_all: bool = False) -> Ended:
    """Begin a command, send it a signal after so many seconds, and wait for its end."""
    tag = f"{os.getpid()}-{time.monotonic_ns()}"
    process = began(words, tag)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after)
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if to_all else os.kill)(process.pid, number)
    try:
        out, err = process.communicate(timeout=WAIT)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        err += "\nit did not end"
    return Ended(process.returncode, out, err, [*left(tag)])


def left(tag: str) -> Iterator[int]:
    """Processes that were begun by that command, a second after its end: those of joblib's tracker go by themselves."""
    deadline = time.monotonic() + 2
    found: list[int] = [0]
    while found and time.monotonic() < deadline:
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if f"{TAG}={tag}".encode() in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        time.sleep(0.05)
    yield from found


def faults(ended: Ended, number: int, folder: Path, check: Check) -> Iterator[str]:
    """What is wrong with how a command ended."""
    if ended.status not in (0, STATUS[number]):
        yield f"exit {ended.status}: {ended.err[-300:]!r}"
    if any(word in ended.out + ended.err for word in ("Traceback", "Exception ignored", "did not end", "Warning")):
        yield repr(ended.err[-600:])
    if ended.status and len(ended.told) != 1:
        yield f"it said {ended.told} of {ended.err[-300:]!r}"
    if ended.left:
        yield f"processes {ended.left} are left"
    parts = [path for path in folder.rglob(".*") if path.name.endswith(".part")]
    if parts:
        yield f"{parts} are left"
    try:
        check(folder)
    except Exception as error:  # whatever reads a half file raises
        yield f"{type(error).__name__}: {error}"


def goes_on(ended: Ended) -> Iterator[str]:
    """What is wrong with going on as a training has said."""
    for line in ended.told:
        _, found, words = line.partition("go on with: gatewise ")
        if found:
            done = subprocess.run([sys.executable, "-m", "gatewise", *words.split()], capture_output=True, text=True)
            if done.returncode or json.loads(Path(words.split()[-1], "summary.json").read_text())["interrupted"]:
                yield f"going on: exit {done.returncode}: {done.stderr[-300:]!r}"


def prepared(folder: Path) -> dict[str, Path]:
    """A table and a run of it, for the commands that want them."""
    found = {name: folder / name for name in ("run", "other", "out")} | {"table": write_table(folder / "table.csv")}
    words = f"train {found['table']} --target y --epochs 3 --experts 3 --out {found['run']}".split()
    subprocess.run([sys.executable, "-m", "gatewise", *words, *SMALL], check=True, capture_output=True)
    shutil.copytree(found["run"], found["other"])
    return found


def fresh(folder: Path) -> None:
    """The folder that a command writes into, with a file of the user's in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "predicted.csv").write_text("mine\n")


def swept(command: Command, given: dict[str, Path], after: float, number: int, to_all: bool) -> tuple[int, list[str]]:
    """One signal to a command: its status, and what is wrong."""
    fresh(given["out"])
    ended = signalled(command.in_folders(given), after, number, to_all)
    return ended.status, [*faults(ended, number, given["out"], command.check), *goes_on(ended)]


def main() -> None:
    """Print a line a command; exit 1 where anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instants", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--command", choices=COMMANDS, action="append")
    chosen = parser.parse_args()
    draw, wrong = random.Random(chosen.seed), 0
    folder = Path(tempfile.mkdtemp(prefix="signals-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        given = prepared(folder)
        for name in chosen.command or COMMANDS:
            fresh(given["out"])
            started = time.monotonic()
            began(COMMANDS[name].in_folders(given), "whole").communicate(timeout=WAIT)
            lasts, statuses = time.monotonic() - started, Counter()
            for index in range(chosen.instants):
                number, to_all = [*STATUS][index % 2], index % 4 > 1
                after = draw.uniform(0, lasts)
                status, found = swept(COMMANDS[name], given, after, number, to_all)
                statuses[status] += 1
                wrong += bool(found)
                where = f"{name}, {number.name}{' to all' if to_all else ''} after {after:.2f} s"
                for fault in found:
                    print(f"{where}: {fault}", flush=True)
            counts = ", ".join(f"{count} ended with {status}" for status, count in sorted(statuses.items()))
            print(f"{name} ({lasts:.1f} s): {counts}", flush=True)
    print(f"{wrong} of {chosen.instants * len(chosen.command or COMMANDS)} signals went wrong")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
