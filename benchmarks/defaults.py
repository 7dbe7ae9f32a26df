"""Which defaults measure best: objective × estimator × regulariser, on four data sets, over three seeds.

Every cell is what `gatewise train` does with that cell's flags and defaults otherwise, but for 8 experts throughout,
one learning rate for gate and experts, and batches of a twentieth of the rows from 32 on: the table was made before
those defaults. Prints one table a data set, writes `results/defaults.json` and fills docs/defaults.md. A run that was
stopped goes on where it was (`--fresh` starts anew); about half an hour on 2 cores.

    python benchmarks/defaults.py [--data digits breast_cancer mnist adult] [--jobs 2] [--fresh]
"""

import argparse
import itertools
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from common import RESULTS, data_file, fill_page, table, write_result

from gatewise.config import load_config
from gatewise.runs import train

LINES = RESULTS / "defaults.jsonl"
SEEDS = (0, 1, 2)

TRAINED_BY: dict[str, dict[str, Any]] = {
    "marginal": {"objective": "marginal"},
    "jensen, enumeration": {},
    "jensen, score function, running mean": {"estimator": "score-function"},
    "jensen, score function, leave-one-out, S = 2": {
        "estimator": "score-function",
        "baseline": "leave-one-out",
        "samples": 2,
    },
    "jensen, Gumbel-Softmax": {"estimator": "gumbel-softmax"},
    "jensen, straight-through Gumbel-Softmax": {"estimator": "straight-through-gumbel-softmax"},
    "jensen, selected relaxation, as proposed": {"estimator": "selected-relaxation"},
    "jensen, selected relaxation, baseline, doubled": {
        "estimator": "selected-relaxation",
        "baseline": "running-mean",
        "estimator_options": {"scale": 2.0},
    },
}
REGULARISERS: dict[str, dict[str, float]] = {
    "none": {},
    "gate_entropy 0.1": {"gate_entropy": 0.1},
    "importance 0.1, load 0.1": {"importance": 0.1, "load": 0.1},
}
SHARED: dict[str, Any] = {"experts": 8, "gate_lr": 1e-3}
DATA = ("digits", "breast_cancer", "mnist", "adult")
LARGE = ("mnist", "adult")
FOR_LARGE = ("none", "importance 0.1, load 0.1")
"""The larger data sets try fewer regularisers."""


def data_sets(folder: Path) -> dict[str, dict[str, Any]]:
    """The flags that name each data set; the 10,000 MNIST images are written to `folder`."""
    mnist = np.load(data_file("mnist.npz"))
    rows = np.random.default_rng(0).permutation(60_000)[:10_000]
    part = {"x_train": mnist["x_train"][rows], "y_train": mnist["y_train"][rows]}
    np.savez(folder / "mnist.npz", **part, x_test=mnist["x_test"], y_test=mnist["y_test"])
    adult = {"data": str(data_file("adult-train.csv")), "target": "income", "test": str(data_file("adult-test.csv"))}
    return {
        "digits": {"data": "digits"},
        "breast_cancer": {"data": "breast_cancer", "batch_size": 32},
        "mnist": {"data": str(folder / "mnist.npz"), "epochs": 20, "expert_hidden": [64]},  # for time
        "adult": adult,
    }


def measure(name: str, source: dict[str, Any], way: str, regulariser: str, seed: int) -> dict[str, Any]:
    """Train one cell and return its test figures."""
    keys = {**SHARED, **source, **TRAINED_BY[way], "regulariser": REGULARISERS[regulariser], "seed": seed, "threads": 1}
    with tempfile.TemporaryDirectory() as folder:
        summary = train(load_config(keys), Path(folder) / "run").summary
    figures = {"validation_nll": summary["validation"]["nll"], **{key: summary["test"][key] for key in FIGURES}}
    cell = {"data": name, "trained by": way, "regulariser": regulariser, "seed": seed}
    return {**cell, **figures, "seconds": summary["seconds"]}


FIGURES = ("accuracy", "nll", "accuracy_top1", "nll_top1", "experts_used", "mutual_information")


def summarise(lines: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """A row for each cell of a data set: means over seeds, on test rows, in the order of the validation NLL."""
    rows = []
    for way, regulariser in itertools.product(TRAINED_BY, REGULARISERS):
        of_cell = [x for x in lines if (x["data"], x["trained by"], x["regulariser"]) == (name, way, regulariser)]
        if of_cell:
            means = {
                key: statistics.mean(line[key] for line in of_cell) for key in ("validation_nll", *FIGURES, "seconds")
            }
            rows.append({"trained by": way, "regulariser": regulariser, **means, "seeds": len(of_cell)})
    return sorted(rows, key=lambda row: row["validation_nll"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=list(DATA))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--fresh", action="store_true")
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    if arguments.fresh:
        LINES.unlink(missing_ok=True)
    lines = [json.loads(text) for text in LINES.read_text().splitlines()] if LINES.exists() else []
    done = {(line["data"], line["trained by"], line["regulariser"], line["seed"]) for line in lines}
    with tempfile.TemporaryDirectory() as folder:
        sources = data_sets(Path(folder))
        every = itertools.product(arguments.data, TRAINED_BY, REGULARISERS, SEEDS)
        cells = [c for c in every if c not in done and (c[0] not in LARGE or c[2] in FOR_LARGE)]
        calls = (joblib.delayed(measure)(name, sources[name], *rest) for name, *rest in cells)
        with LINES.open("a") as file:
            for line in joblib.Parallel(arguments.jobs, return_as="generator_unordered")(calls):
                lines.append(line)
                file.write(json.dumps(line) + "\n")
                file.flush()
    rows, sections = [], []
    for name in arguments.data:
        of_data = summarise(lines, name)
        sections.append(f"### {name}\n\n{table(of_data)}\n")
        rows += [{"data": name, **row} for row in of_data]
    print("\n".join(sections))
    if len(sections) == len(DATA):
        fill_page("docs/defaults.md", "defaults", "\n".join(sections))
        write_result("defaults", rows)


if __name__ == "__main__":
    main()
