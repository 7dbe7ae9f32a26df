"""Broken inputs of every kind: CSV, Parquet, npz, TOML and run folders, mutated at random. Nothing but a GatewiseError.

    python -m tests.faults.fuzz --inputs 20000

In one process with 2 GiB of memory more than it has after its imports, each input with 10 seconds of a processor. What
fails is written to `--keep`.
"""

import argparse
import contextlib
import io
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import torch

from gatewise.config import RunConfig, load_config
from gatewise.config.loading import read_toml
from gatewise.data import read, stream
from gatewise.distributed import ALONE
from gatewise.errors import GatewiseError
from gatewise.reporting import write_report
from gatewise.runs import Run, train
from gatewise.runs.data import read_parts
from gatewise.runs.prepare import prepare
from gatewise.training.input.batching import Shares

SECONDS, MEMORY = 10, 2 * 2**30
REPORTED = ("summary.json", "metrics.jsonl", "environment.json")
TOKENS = [
    b",", b";", b"\n", b"\r", b"\0", b'"', b"'", b"\\", b"[", b"]", b"{", b"}", b"=", b"-", b"1e999", b"NaN", b"null",
    b"\xff\xfe", b"\xef\xbb\xbf", b"../", b"-1", b"9" * 400, b"\xed\xa0\x80",
    b'"\\ud800"', b"true", b"[" * 2000, b" " * 50,
]  # fmt: skip


def mutated(content: bytes, draw: random.Random) -> bytes:
    """A few bytes changed, cut, doubled, moved, or replaced by what readers stumble over."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        at, end = sorted((draw.randrange(len(data) + 1), draw.randrange(len(data) + 1)))
        way = draw.randrange(6)
        if way == 0 and data:
            data[min(at, len(data) - 1)] ^= 1 << draw.randrange(8)
        elif way == 1:
            data[at:at] = draw.choice(TOKENS)
        elif way == 2:
            del data[at : min(end, at + draw.choice((1, 8, len(data) or 1)))]
        elif way == 3:
            data[at:at] = data[at : min(end, at + 200)]
        elif way == 4:
            data[at : at + 4] = draw.choice((b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\xff\xff\xff\xff"))
        else:
            data[at : min(end, at + 6)] = draw.choice(TOKENS)
    return bytes(data)


def of_table(path: Path) -> None:
    """Read whole and in parts, with and without labels."""
    with contextlib.suppress(GatewiseError):
        read(path, "y")
    for records in stream(path, "y", require_target=False):
        records.place(0)


def of_stored(path: Path) -> None:
    """As rows that a training leaves on disk: split, fitted to, and read in an order of chance."""
    config = RunConfig(data=str(path), target="y", stream=True, stream_rows=16, epochs=1, experts=2, expert_hidden=[4])
    parts = read_parts(config)
    rows = prepare(config.settled(len(parts.train)), parts, torch.device("cpu")).rows["train"]
    for _ in rows.shuffled(0, Shares([len(rows)], 1, ALONE)):
        pass


def of_toml(path: Path) -> None:
    """As a configuration."""
    load_config(read_toml(path))


def of_run(path: Path) -> None:
    """Report, load, evaluate and predict."""
    folder = next(parent for parent in path.parents if parent.name == "run")
    if path.name in REPORTED:
        with contextlib.suppress(GatewiseError):
            write_report(folder)
    run = Run.load(folder)
    list(run.predict(str(folder.parent / "t.csv")))
    run.evaluate(run.stream(str(folder.parent / "t.csv"), require_target=True))


def seeds(folder: Path) -> dict[str, tuple[Path, Callable[[Path], None]]]:
    """A good input of every kind, and what reads it."""
    rows = [(i, i % 7 / 2, "uv"[i % 2], ["no", "yes"][i % 3 == 0]) for i in range(40)]
    table = pl.DataFrame(rows, schema=["a", "b", "kind", "y"], orient="row")
    table.write_csv(folder / "t.csv")
    table.write_parquet(folder / "t.parquet")
    np.savez(folder / "t.npz", x=np.random.default_rng(0).normal(size=(20, 3)), y=np.arange(20) % 2)
    keys = {"data": str(folder / "t.csv"), "target": "y", "epochs": 1, "experts": 2, "expert_hidden": [4]}
    train(RunConfig(**keys), folder / "run")
    shutil.copy(folder / "run/config.toml", folder / "t.toml")
    found = {f"t.{ending}": (folder / f"t.{ending}", of_table) for ending in ("csv", "parquet", "npz")}
    found["stored t.parquet"] = folder / "t.parquet", of_stored
    found["t.toml"] = folder / "t.toml", of_toml
    names = ("config.toml", "summary.json", "metrics.jsonl", "environment.json")
    for path in [*(folder / "run" / name for name in names), *sorted((folder / "run/model").iterdir())]:
        found[f"run/{path.relative_to(folder / 'run')}"] = path, of_run
    return found


class Hang(BaseException):
    """An input took too long."""


def _hang(*_: object) -> None:
    raise Hang


@contextlib.contextmanager
def stopwatch() -> Iterator[None]:
    """Raise `Hang` where it takes longer than `SECONDS`."""
    for each in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(each, _hang)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of the processor, as the machine may be busy with others
    signal.alarm(10 * SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)


def limit_memory() -> None:
    """Let this process have `MEMORY` more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + MEMORY,) * 2)


def fault(check: Callable[[Path], None], path: Path) -> str | None:
    """What an input does that it must not: a traceback's last line, or that it hangs; None where all is well."""
    try:
        with stopwatch(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            check(path)
    except GatewiseError as error:
        return f"two lines: {error}" if len(str(error).split("\n")) > 3 else None
    except Hang:
        return f"more than {SECONDS} s"
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in where if "gatewise" in frame.filename] or where
        return f"{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].lineno}: {str(error)[:80]}"
    return None


def fuzz(inputs: int, seed: int, keep: Path) -> Counter[str]:
    """Try so many; counts of what was wrong, by kind of input and place."""
    draw, folder, faults = random.Random(seed), Path(tempfile.mkdtemp(prefix="fuzz-")), Counter()
    known = seeds(folder)
    limit_memory()
    names = [*known, *["t.csv", "t.parquet", "stored t.parquet", "t.npz", "t.toml"] * 4]
    for number in range(inputs):
        name = draw.choice(names)
        path, check = known[name]
        good = path.read_bytes()
        path.write_bytes(bad := mutated(good, draw))
        wrong = fault(check, path)
        if wrong is not None:
            what = f"{name}: {wrong}"
            if not faults[what]:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{len(faults)}-{name.replace('/', '+')}").write_bytes(bad)
                print(what, flush=True)
            faults[what] += 1
        path.write_bytes(good)
        if (number + 1) % 500 == 0:
            print(f"{number + 1} inputs, {sum(faults.values())} faults", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    return faults


def main() -> None:
    """Print the figures; exit 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"))
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    faults = fuzz(chosen.inputs, chosen.seed, chosen.keep)
    hangs = sum(count for what, count in faults.items() if f"more than {SECONDS} s" in what)
    print(f"{chosen.inputs} inputs, {sum(faults.values()) - hangs} tracebacks, {hangs} hangs")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
