"""Training killed by SIGKILL at random instants, and resumed: the same run, to the bit, with no half file left.

    python -m tests.faults.kills --kills 60

Every training is a forked process that runs `gatewise train`. It is killed at an instant drawn evenly over the time
that one takes from its start to its end, checkpoints after every step. `gatewise train --resume` then goes on; where
it was killed before there was a run to go on with, `gatewise train` begins it. What comes of it is
compared with a training that nobody killed: every file in `model`, and all but times in `metrics.jsonl`,
`audits.jsonl` and `summary.json`, to the bit.
"""

import argparse
import contextlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gatewise.cli import main as gatewise

TIMES = {"seconds", "relative_mse_equal_time"}
ROWS, EPOCHS = 200, 8


def write_table(path: Path) -> Path:
    """A table with numbers, gaps and text."""
    draw = random.Random(0)
    lines = ["a,b,kind,y"]
    for _ in range(ROWS):
        a, b = draw.gauss(0, 1), draw.gauss(0, 1)
        gap = "" if draw.random() < 0.1 else f"{b:.4f}"
        lines.append(f"{a:.4f},{gap},{draw.choice('uvw')},{'no' if a * b > 0 else 'yes'}")
    path.write_text("\n".join(lines) + "\n")
    return path


def words(table: Path, run: Path) -> list[str]:
    """A short training that keeps state of every kind: noise, a running mean, dropout."""
    settings = ("batch_size=32", "patience=0", "threads=1", "checkpoint_seconds=1e-6", "expert_hidden=[8]")
    told = ["--estimator", "score-function", "--experts", "3", "--epochs", str(EPOCHS), "--out", str(run)]
    told += ["--audit-every", "4"]
    return ["train", str(table), "--target", "y", *told, *(w for each in settings for w in ("--set", each))]


def begin(arguments: list[str], log: Path, command: Callable[[list[str]], None] = gatewise) -> int:
    """`gatewise …`, or another command, in a process of its own, whose number is returned."""
    if process := os.fork():
        return process
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    status = 1
    try:
        command(arguments)
        status = 0
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def end(process: int) -> int:
    """Wait for it: its exit status, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def kill_after(process: int, seconds: float) -> bool:
    """Kill it then; whether it was still at work."""
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    return end(process) == -signal.SIGKILL


def contents(run: Path) -> dict[str, Any]:
    """What must be the same: bytes of the model, figures without times, and which files there are."""
    files = sorted(run.glob("model/*"))
    found: dict[str, Any] = {path.name: path.read_bytes() for path in files if path.suffix != ".skops"}
    found |= {path.name: members(path) for path in files if path.suffix == ".skops"}
    for name in ("metrics.jsonl", "audits.jsonl"):
        found[name] = [timeless(json.loads(line)) for line in (run / name).read_text().splitlines()]
    # the command names the folder, which is another one each time
    found["summary.json"] = timeless(json.loads((run / "summary.json").read_text())) | {"command": None}
    found["files"] = sorted(str(path.relative_to(run)) for path in run.rglob("*"))
    return found


def timeless(value: Any) -> Any:
    """Without what the clock says."""
    if isinstance(value, list):
        return [timeless(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {key: timeless(each) for key, each in value.items() if key not in TIMES}


def members(path: Path) -> Any:
    """What a skops file holds, without the numbers and times that no two have in common."""
    with zipfile.ZipFile(path) as archive:

        def plain(value: Any) -> Any:
            if isinstance(value, list):
                return [plain(each) for each in value]
            if not isinstance(value, dict):
                return value
            kept = {key: plain(each) for key, each in value.items() if key != "__id__"}
            return kept | {"file": archive.read(value["file"])} if "file" in value else kept

        return plain(json.loads(archive.read("schema.json")))


def go_on(table: Path, run: Path, log: Path) -> str | None:
    """Resume, or begin again where there is no run yet; what went wrong, or None."""
    begun = (run / "config.toml").exists()
    status = end(begin(["train", "--resume", str(run)] if begun else words(table, run), log))
    said = log.read_text().strip().splitlines()
    if status == 2 and said and " is finished; " in said[-1]:  # killed after the last thing that it had to do
        return None
    return None if status == 0 else f"exit {status}: {said[-1] if said else ''}"


def place(run: Path) -> str:
    """Where a killed training was."""
    if not (run / "config.toml").exists():
        return "before there was a run"
    if (run / "summary.json").exists():
        return "after the summary"
    if (run / "model").exists():
        return "while the model was written"
    checkpoints = list(run.glob("checkpoints/*"))
    if any(path.name.startswith(".") for path in checkpoints):
        return "in the middle of a checkpoint"
    return "between checkpoints" if checkpoints else "before the first checkpoint"


def warm_up() -> None:
    """Import before any fork what a training would import, which is no time to be killed at."""
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.sum().backward()
    torch.optim.AdamW([weight], fused=True).step()
    for name in ("matplotlib.figure", "sklearn.compose", "skops.io", "scipy.optimize", "pyarrow.parquet"):
        importlib.import_module(name)


def run_kills(kills: int, seed: int, folder: Path) -> tuple[int, Counter[str]]:
    """Kill so many trainings; how many came out the same, and where they were killed."""
    draw, table, log = random.Random(seed), write_table(folder / "table.csv"), folder / "log"
    warm_up()
    started = time.monotonic()
    assert end(begin(words(table, folder / "whole"), log)) == 0, log.read_text()
    lasts, expected = time.monotonic() - started, contents(folder / "whole")
    print(f"a training takes {lasts:.1f} s; seed {seed}", flush=True)
    same, places, done = 0, Counter(), 0
    while done < kills:
        run = folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        if not kill_after(begin(words(table, run), log), draw.uniform(0, lasts)):
            continue  # it had ended before
        done, where = done + 1, place(run)
        places[where] += 1
        wrong = go_on(table, run, log)
        if wrong is None:
            found = contents(run)
            wrong = ", ".join(key for key in expected.keys() | found.keys() if found.get(key) != expected.get(key))
        same += not wrong
        if wrong:
            print(f"kill {done}, {where}: {wrong}", flush=True)
    return same, places


def main() -> None:
    """Print the figures; exit 1 where a run did not come out the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        same, places = run_kills(chosen.kills, chosen.seed, folder)
    for where, count in places.most_common():
        print(f"  {count:3} killed {where}")
    print(f"{same} of {chosen.kills} kills resumed to the bit, no half file left")
    sys.exit(same != chosen.kills)


if __name__ == "__main__":
    main()
