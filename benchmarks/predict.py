"""How fast a run predicts from a Parquet file, top-1, beside a plain loop, and whether its memory stays flat.

The model is the default one, on 64 numbers and 10 classes, with 1 % of the values missing. Each way runs in processes
of its own, for 200,000 rows and for a million, several times in turn; of its times the least counts, of its memory the
peak. The plain loop reads the file with polars, prepares the rows with scikit-learn's ColumnTransformer, multiplies by
all experts in batches of 4096 and takes the gate's choice. "prepared" has the prepared rows in memory and makes the
tables of predictions. Prints the tables, writes `results/predict.json` and those of `docs/predict.md`.

    OMP_NUM_THREADS=2 python benchmarks/predict.py
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import torch
from common import fill_page, table, write_result

from gatewise.config import RunConfig
from gatewise.models import Predictions
from gatewise.runs import Run, train

FEATURES, CLASSES, MISSING = 64, 10, 0.01
ROWS = (200_000, 1_000_000)
FLOOR = {"prepared": 300_000, "file to file": 150_000}
"""Rows a second that top-1 must reach."""
FLAT = 1.05
"""How much the peak memory of a million rows may be of that of 200,000."""


def make_data(path: Path, rows: int) -> None:
    """Row groups of 65,536 rows, as they come; columns of normal numbers, some of them missing."""
    draw = np.random.default_rng(0)
    names = [f"x{i}" for i in range(FEATURES)]
    parts = []
    for start in range(0, rows, 2**16):
        x = draw.normal(size=(min(2**16, rows - start), FEATURES))
        parts.append(pl.DataFrame(np.where(draw.random(x.shape) < MISSING, np.nan, x), schema=names))
    pl.concat(parts).fill_nan(None).write_parquet(path, row_group_size=2**16)


def make_run(folder: Path, data: Path) -> None:
    """A run of the default model, trained for one epoch: more costs no less to run."""
    rows, path = pl.read_parquet(data).head(20_000), folder.parent / "train.parquet"
    labels = np.random.default_rng(1).integers(CLASSES, size=len(rows))
    rows.with_columns(y=pl.Series([f"class {label}" for label in labels])).write_parquet(path)
    train(RunConfig(data=str(path), target="y", epochs=1), folder)


def file_to_file(run: Run, data: Path, out: Path) -> float:
    started = time.perf_counter()
    run.predict(str(data), route="top1").write(out)
    return time.perf_counter() - started


def prepared(run: Run, data: Path, out: Path) -> float:
    """Predictions of rows that are prepared already, one part after the other, into tables."""
    ready = [run.model.inputs(records) for records in run.stream(str(data), require_target=False)]
    given = _Ready(run.model, lambda: ready, route="top1")  # pyrefly: ignore[bad-argument-type]
    started = time.perf_counter()
    for _ in given:
        pass
    return time.perf_counter() - started


class _Ready(Predictions):
    """Predictions whose parts are what the mixture takes."""

    def _inputs(self) -> Iterator[tuple[torch.Tensor]]:
        return ((x,) for x in self.parts())


def preparing(run: Run, data: Path, out: Path) -> float:
    """Reading and preparing alone."""
    started = time.perf_counter()
    for records in run.stream(str(data), require_target=False):
        run.model.inputs(records)
    return time.perf_counter() - started


def plain(run: Run, data: Path, out: Path) -> float:
    """What a person would write by hand."""
    transformer, mixture = run.model.preprocessing.transformer, run.model.mixture  # pyrefly: ignore
    (first, second), (b1, b2) = mixture.experts.weights, mixture.experts.biases
    names = np.array(run.model.spec.classes)
    started = time.perf_counter()
    frame = pl.read_parquet(data)
    x = torch.from_numpy(transformer.transform(frame.to_numpy()).astype(np.float32))
    answers = []
    with torch.inference_mode():
        for rows in x.split(4096):
            gate = mixture.gate(rows).softmax(-1)
            hidden = torch.baddbmm(b1.unsqueeze(1), rows.expand(len(first), -1, -1), first).relu()
            probs = torch.baddbmm(b2.unsqueeze(1), hidden, second).softmax(-1)
            expert = gate.argmax(-1)
            chosen = probs[expert, torch.arange(len(rows))]
            answers.append((chosen.numpy(), expert.numpy()))
    probs, experts = (np.concatenate(parts) for parts in zip(*answers, strict=True))
    columns = {"label": names[probs.argmax(1)]}
    columns |= {f"p_{name}": probs[:, c] for c, name in enumerate(names)} | {"expert": experts}
    pl.DataFrame(columns).write_parquet(out)
    return time.perf_counter() - started


def loading(run: Run, data: Path, out: Path) -> float:
    """Nothing but the run in memory."""
    return 0.0


WAYS = {"plain loop": plain, "file to file": file_to_file, "prepared": prepared, "reading and preparing": preparing}


def measure(folder: Path, way: str, rows: int) -> tuple[float, float]:
    """Seconds, and the peak of memory in MB, of one way in a process of its own."""
    words = [sys.executable, __file__, "--one", way, "--folder", str(folder), "--rows", str(rows)]
    answer = subprocess.run(words, capture_output=True, text=True, check=True)
    seconds, peak = json.loads(answer.stdout)
    return seconds, peak


def one(folder: Path, way: str, rows: int) -> None:
    run = Run.load(folder / "run")
    way_of = {**WAYS, "loading": loading}[way]
    seconds = way_of(run, folder / f"{rows}.parquet", folder / f"{os.getpid()}.parquet")
    # not getrusage, whose peak includes that of the process that started this one
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(json.dumps([seconds, int(peak[1]) / 1024]))  # pyrefly: ignore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.folder, given.one, given.rows)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for rows in ROWS:
            make_data(folder / f"{rows}.parquet", rows)
        make_run(folder / "run", folder / f"{ROWS[0]}.parquet")
        found = {(way, rows): [] for way in WAYS for rows in ROWS}
        load = [os.getloadavg()[0]]
        for _ in range(given.repeats):
            for case, taken in found.items():
                taken.append(measure(folder, *case))
                load.append(os.getloadavg()[0])
        base = measure(folder, "loading", ROWS[0])[1]
    report(found, base, load)


def report(found: dict[tuple[str, int], list[tuple[float, float]]], base: float, load: list[float]) -> None:
    best = {case: min(seconds for seconds, _ in taken) for case, taken in found.items()}
    memory = {case: max(peak for _, peak in taken) for case, taken in found.items()}
    large = ROWS[-1]
    rows = [
        {
            "way": way,
            "rows": size,
            "rows a second": round(size / best[way, size]),
            "of the plain loop": best["plain loop", size] / best[way, size],
            "peak MB": round(memory[way, size]),
            "MB above loading": round(memory[way, size] - base),
        }
        for way, size in found
    ]
    checks = [(f"{way}, rows a second", round(large / best[way, large]), f">= {floor}") for way, floor in FLOOR.items()]
    flat = memory["file to file", large] / memory["file to file", ROWS[0]]
    checks.append((f"file to file, peak of {large} rows / of {ROWS[0]}", flat, f"<= {FLAT}"))
    verdict = [
        {"what": what, "measured": value, "bound": bound, "met": "yes" if _meets(value, bound) else "no"}
        for what, value, bound in checks
    ]
    said = (
        f"{torch.get_num_threads()} thread(s) of torch; the load of the machine, this included, was {min(load):.1f} to "
        f"{max(load):.1f} on {os.cpu_count()} cores."
    )
    text = f"{table(rows)}\n\n{table(verdict)}\n\n{said}"
    print(text)
    write_result("predict", [*rows, *verdict, {"load": load}])
    fill_page("docs/predict.md", "predict", text)


def _meets(value: float, bound: str) -> bool:
    sign, number = bound.split()
    return value >= float(number) if sign == ">=" else value <= float(number)


if __name__ == "__main__":
    main()
