"""Training on a folder of Parquet files that stays on disk: memory of a process, and rows a second.

Makes 2,000,000 rows of 20 columns of numbers and one of text, in row groups of 50,000, and trains the default model on
them for one epoch (`stream = true`), by one process and by two, each a `gatewise train` of its own. "in memory" is the
same with `stream = false`. The seconds are those of the epoch, its validation included, as `metrics.jsonl` has them;
"all" is the whole command, from reading the labels to the report. Prints the tables, writes `results/streaming.json`
and those of `docs/streaming.md`. Linux alone, as the peak is what /proc says of each process.

    OMP_NUM_THREADS=1 python benchmarks/streaming.py
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from common import fill_page, table, write_result

ROWS, FILES, GROUP, NUMBERS = 2_000_000, 8, 50_000, 20
TOWNS = 50
MOST = 1.5
"""GiB that a process may take at most."""
WAYS = {"streamed": (1, True), "streamed, two processes": (2, True), "in memory": (1, False)}
PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


def make_data(folder: Path, rows: int) -> None:
    """Files with the rows of two regions, told by a number, in each of which another number decides the class."""
    draw = np.random.default_rng(0)
    folder.mkdir()
    for file in range(FILES):
        x = draw.normal(size=(rows // FILES, NUMBERS))
        towns = draw.integers(TOWNS, size=len(x))
        score = (
            np.where(x[:, 0] > 0, x[:, 1], -x[:, 2]) + 0.02 * (towns - TOWNS / 2) + draw.normal(scale=0.3, size=len(x))
        )
        frame = pl.DataFrame(x, schema=[f"x{i}" for i in range(NUMBERS)])
        texts = pl.Series("town", [f"town {town}" for town in towns])
        labels = pl.Series("y", np.where(score > 0, "yes", "no"))
        frame.with_columns(texts, labels).write_parquet(folder / f"{file}.parquet", row_group_size=GROUP)


def measure(data: Path, out: Path, processes: int, stream: bool) -> dict[str, Any]:
    """The figures of one `gatewise train`, and the peak in GiB of the process that took most."""
    words = [sys.executable, "-m", "gatewise", "train", str(data), "--target", "y", "--epochs", "1", "--out", str(out)]
    words += ["--processes", str(processes), "--set", f"stream={str(stream).lower()}", "--set", "threads=1"]
    started, peaks = time.perf_counter(), {}
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            peaks |= peaks_below(process.pid)
            time.sleep(0.25)
        seconds = time.perf_counter() - started
        if process.returncode:
            sys.exit(process.stderr.read())  # pyrefly: ignore
    summary = json.loads((out / "summary.json").read_text())
    epoch = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["seconds"]
    return {
        "train rows": summary["data"]["train_rows"],
        "epoch, s": epoch,
        "rows a second": round(summary["data"]["train_rows"] / epoch),
        "all, s": seconds,
        "peak GiB a process": max(peaks.values()) / 2**20,
        "test accuracy": summary["test"]["accuracy"],
    }


def peaks_below(process: int) -> dict[int, int]:
    """The peaks in kB of a process and all that it has started, by their numbers; of those that are still there."""
    found = {}
    try:
        status = Path(f"/proc/{process}/status").read_text()
        found[process] = int(PEAK.search(status)[1])  # pyrefly: ignore
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except (OSError, TypeError):
        return found
    for child in children:
        found |= peaks_below(int(child))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_data(folder / "data", given.rows)
        size = sum(file.stat().st_size for file in (folder / "data").iterdir())
        load = [os.getloadavg()[0]]
        found = []
        for way, (processes, stream) in WAYS.items():
            found.append({"way": way, **measure(folder / "data", folder / way.replace(" ", "-"), processes, stream)})
            load.append(os.getloadavg()[0])
    most = max(row["peak GiB a process"] for row in found if row["way"].startswith("streamed"))
    met = "met" if most < MOST else "not met"
    verdict = f"Streamed, a process took {most:.2f} GiB at most; the bound of {MOST} GiB is {met}."
    said = (
        f"{given.rows:,} rows, {size / 2**20:.0f} MiB on disk; torch {torch.__version__}, one thread a process; the "
        f"load of the machine, this included, was {min(load):.1f} to {max(load):.1f} on {os.cpu_count()} cores."
    )
    text = f"`OMP_NUM_THREADS=1 python benchmarks/streaming.py`:\n\n{table(found)}\n\n{verdict} {said}"
    print(text)
    if given.rows == ROWS:  # fewer are a trial
        write_result("streaming", [*found, {"bound GiB": MOST, "met": most < MOST, "load": load}])
        fill_page("docs/streaming.md", "streaming", text)


if __name__ == "__main__":
    main()
