"""What collapses when, what keeps experts alive, and whether the defaults do.

Four parts, each a table of docs/collapse.md:

- `cures`: MNIST, 8 linear experts, a 784-64-8 gate, 5 epochs: two ways to train, each with one cure at a time.
- `bundled`: `gatewise train NAME` for every bundled data set: experts that are the gate's argmax on fewer than 1/(10 K)
  of the training rows, and of the test rows.
- `teacher`: data whose experts are known: how far the gate's choice agrees with the true one (adjusted Rand index of
  the two argmaxes over all 20,000 rows), with the defaults and without each of them.
- `keepers`: MNIST and two tables, 8 linear experts, one start, 50 epochs, 5 seeds: what re-seeding and the
  slow rise of the gate's rate change.

Writes `results/collapse.json` and fills docs/collapse.md. A run that was stopped goes on where it was (`--fresh` starts
anew); about a quarter of an hour on 2 quiet cores.

    python benchmarks/collapse.py [cures bundled teacher keepers] [--jobs 2] [--fresh]
"""

import argparse
import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import joblib
import torch
from common import RESULTS, data_file, fill_page, table, write_result
from sklearn.metrics import adjusted_rand_score

from gatewise.config import load_config
from gatewise.data import BUNDLED, teacher, teacher_gate
from gatewise.metrics import evaluate
from gatewise.runs import Run, train
from gatewise.runs.data import read_parts

LINES = RESULTS / "collapse.jsonl"
Line = dict[str, Any]

MNIST: Line = {
    "expert": "linear",
    "experts": 8,
    "gate_hidden": [64],
    "epochs": 5,
    "batch_size": 256,
    "lr_schedule": "constant",
    "patience": 0,
    "starts": 1,
}
TRAINED_BY: dict[str, Line] = {
    "jensen, exact": {},
    "jensen, score function": {"estimator": "score-function"},
}
NONE: Line = {"regulariser": {}}
CURES: dict[str, Line] = {
    "nothing": NONE,
    "importance 0.3, load 0.3 (default)": {},
    "gate_entropy 0.1": {"regulariser": {"gate_entropy": 0.1}},
    "gate_entropy 0.3, falling to 0": {"regulariser": {"gate_entropy": "linear:0.3:0"}},
    "mutual_information 0.1": {"regulariser": {"mutual_information": 0.1}},
    "dirichlet 0.1": {"regulariser": {"dirichlet": 0.1}},
    "balance bias, rate 0.02": NONE | {"balance_rate": 0.02},
    "warm start, k-means": NONE | {"warm_start": "kmeans", "warm_start_epochs": 1},
    "re-seeding after 1 epoch": NONE | {"reseed_after": 1},
    "1.5-entmax gate": NONE | {"gate_map": "entmax15"},
    "noisy top-2 gate": NONE | {"gate_top_k": 2},
}
CURE_SEEDS, SEEDS = range(2), range(5)
UNSEEN = range(50, 60)
"""Seeds on which nothing was chosen: the gate's rate, its rise, the balance and the starts were, on others."""
ONE_START = range(30, 40)
"""Seeds that show what one start is worth."""
FIGURES = ("nll", "nll_top1", "experts_used", "effective_experts", "gate_entropy", "mutual_information")
DEFAULTS = "the defaults"
ONE: Line = {"starts": 1}
TEACHERS: dict[str, Line] = {
    DEFAULTS: {},
    "one start": ONE,
    "one start, gate_lr = 0.001, the experts' rate": ONE | {"gate_lr": 0.001},
    "one start, gate_warmup = 0": ONE | {"gate_warmup": 0},
    "one start, importance 0.1, load 0.1": ONE | {"regulariser": {"importance": 0.1, "load": 0.1}},
    "one start, linear experts": ONE | {"expert": "linear"},
}
TAUGHT = [
    (DEFAULTS, SEEDS),
    (DEFAULTS, UNSEEN),
    ("one start", SEEDS),
    ("one start", ONE_START),
    *((name, SEEDS) for name in TEACHERS if name not in (DEFAULTS, "one start")),
]
"""The rows of the table: what it is trained with, on which seeds."""
KEEP: Line = {"expert": "linear", "experts": 8, "epochs": 50, "patience": 0, "starts": 1, "batch_size": 256}
KEPT_DATA: dict[str, Line] = {
    "phoneme": {"data": "tables/phoneme.csv", "header": False, "target": "5"},
    "winequality-white": {"data": "tables/winequality-white.csv", "header": False, "target": "11"},
    "mnist": {"data": "mnist.npz"},
}
KEPT_BY: dict[str, Line] = {
    DEFAULTS: {},
    "score function, no regulariser": {"estimator": "score-function"} | NONE,
}
KEPT = [
    (data, way)
    for data, way in itertools.product(KEPT_DATA, KEPT_BY)
    if (data, way) != ("mnist", DEFAULTS)  # where no expert dies, and 50 epochs take longest
]
KEEPERS: dict[str, Line] = {
    "nothing more": {},
    "reseed_after = 3": {"reseed_after": 3},
    "gate_warmup = 0": {"gate_warmup": 0},
}


def run(keys: Line, folder: str) -> Run:
    return train(load_config(keys | {"threads": 1}), Path(folder) / "run")


def dead_in_training(made: Run) -> int:
    rows = made.model.rows(read_parts(made.config).train)
    return evaluate(made.model.mixture, *rows, len(made.model.spec.classes)).result().to_dict()["dead_experts"]


def cure(way: str, name: str, seed: int) -> Line:
    keys = {**MNIST, **TRAINED_BY[way], **CURES[name], "data": str(data_file("mnist.npz")), "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        test = run(keys, folder).summary["test"]
    return {"part": "cures", "way": way, "with": name, "seed": seed, **{key: test[key] for key in FIGURES}}


def bundled(name: str, seed: int) -> Line:
    with tempfile.TemporaryDirectory() as folder:
        made = run({"data": name, "seed": seed}, folder)
    test = made.summary["test"]
    figures = {"experts": made.model.mixture.num_experts, "rows": test["rows"], "dead": test["dead_experts"]}
    figures |= {"dead_in_training": dead_in_training(made), "mutual_information": test["mutual_information"]}
    return {"part": "bundled", "with": name, "seed": seed, **figures}


def recover(name: str, seed: int) -> Line:
    with tempfile.TemporaryDirectory() as folder:
        made = run({"data": "teacher", "seed": seed, **TEACHERS[name]}, folder)
    rows = teacher()
    with torch.no_grad():
        chosen = made.model.mixture.gate_proba(made.model.inputs(rows)).argmax(-1).numpy()
    agreement = adjusted_rand_score(teacher_gate(rows).argmax(1), chosen)
    test = made.summary["test"]
    return {"part": "teacher", "with": name, "seed": seed, "agreement": agreement, "nll": test["nll"]}


def keep(data: str, way: str, name: str, seed: int) -> Line:
    source = KEPT_DATA[data]
    keys = KEEP | KEPT_BY[way] | KEEPERS[name] | source | {"data": str(data_file(source["data"])), "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        made = run(keys, folder)
    figures = {"nll": made.summary["test"]["nll"], "dead": dead_in_training(made)}
    return {"part": "keepers", "data": data, "way": way, "with": name, "seed": seed, **figures}


def cells(parts: list[str]) -> Iterator[tuple[Any, ...]]:
    """The function that measures a cell, and its arguments: what is printed first of each line, too."""
    if "cures" in parts:
        yield from ((cure, *cell) for cell in itertools.product(TRAINED_BY, CURES, CURE_SEEDS))
    if "bundled" in parts:
        yield from ((bundled, *cell) for cell in itertools.product(BUNDLED, SEEDS))
    if "teacher" in parts:
        yield from ((recover, name, seed) for name, seeds in TAUGHT for seed in seeds)
    if "keepers" in parts:
        yield from ((keep, *cell, name, seed) for cell in KEPT for name in KEEPERS for seed in SEEDS)


def key_of(line: Line) -> tuple[Any, ...]:
    """What tells a line from all others."""
    return line["part"], *(line[key] for key in ("data", "way", "with", "seed") if key in line)


def measured(lines: list[Line], parts: list[str], jobs: int) -> Iterator[Line]:
    """The lines that are missing."""
    names = {cure: "cures", bundled: "bundled", recover: "teacher", keep: "keepers"}
    done = {key_of(line) for line in lines}
    missing = [cell for cell in cells(parts) if (names[cell[0]], *cell[1:]) not in done]
    calls = [joblib.delayed(function)(*arguments) for function, *arguments in missing]
    return joblib.Parallel(jobs, return_as="generator_unordered")(calls)


def of(lines: list[Line], **wanted: str) -> list[Line]:
    return [line for line in lines if all(line.get(key) == value for key, value in wanted.items())]


def cures_table(lines: list[Line]) -> str:
    rows = []
    for way in TRAINED_BY:
        for name in CURES:
            cell = {key: mean(line[key] for line in of(lines, way=way, **{"with": name})) for key in FIGURES}
            rows.append({"trained by": way, "with": name} | {SHORT[key]: value for key, value in cell.items()})
    return table(rows)


SHORT = {
    "nll": "NLL",
    "nll_top1": "NLL top-1",
    "experts_used": "experts used",
    "effective_experts": "effective",
    "gate_entropy": "H(z\\|x)",
    "mutual_information": "I(z;x)",
}


def bundled_table(lines: list[Line]) -> str:
    rows = []
    for name in BUNDLED:
        cell = of(lines, **{"with": name})
        rows.append(
            {
                "data": name,
                "test rows": cell[0]["rows"],
                "experts": cell[0]["experts"],
                "dead on training rows, worst seed": max(line["dead_in_training"] for line in cell),
                "dead on test rows, worst seed": max(line["dead"] for line in cell),
                "least I(z;x)": min(line["mutual_information"] for line in cell),
            }
        )
    return table(rows)


def teacher_table(lines: list[Line]) -> str:
    rows = []
    for name, seeds in TAUGHT:
        cell = [line for line in of(lines, **{"with": name}) if line["seed"] in seeds]
        cell.sort(key=lambda line: line["seed"])
        found = [line["agreement"] for line in cell]
        each = ", ".join(f"{value:.3f}" for value in found)
        nll = mean(line["nll"] for line in cell)
        shown = f"{name}, seeds {seeds[0]} to {seeds[-1]}"
        rows.append({"trained with": shown, "least agreement": min(found), "each seed": each, "NLL": nll})
    return table(rows)


def keepers_table(lines: list[Line]) -> str:
    rows = []
    for (data, way), name in itertools.product(KEPT, KEEPERS):
        cell = of(lines, data=data, way=way, **{"with": name})
        nll, dead = ([line[key] for line in cell] for key in ("nll", "dead"))
        figures = {
            "NLL": f"{mean(nll):.4f} ± {stdev(nll):.4f}",
            "dead on training rows": f"{mean(dead):.1f} ± {stdev(dead):.1f}",
        }
        rows.append({"data": data, "trained by": way, "with": name} | figures)
    return table(rows)


TABLES = {"cures": cures_table, "bundled": bundled_table, "teacher": teacher_table, "keepers": keepers_table}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(TABLES)}; default all")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--fresh", action="store_true")
    arguments = parser.parse_args()
    parts = arguments.parts or list(TABLES)
    if unknown := set(parts) - set(TABLES):
        parser.error(f"unknown part {min(unknown)}; parts: {', '.join(TABLES)}")
    RESULTS.mkdir(exist_ok=True)
    if arguments.fresh:
        LINES.unlink(missing_ok=True)
    lines: list[Line] = [json.loads(text) for text in LINES.read_text().splitlines()] if LINES.exists() else []
    with LINES.open("a") as file:
        for line in measured(lines, parts, arguments.jobs):
            lines.append(line)
            file.write(json.dumps(line) + "\n")
            file.flush()
            print(*(f"{value:.4f}" if isinstance(value, float) else value for value in line.values()), flush=True)
    for part in parts:
        text = TABLES[part](of(lines, part=part))
        print(f"\n{text}")
        fill_page("docs/collapse.md", part, f"`python benchmarks/collapse.py {part}`:\n\n{text}\n")
    write_result("collapse", sorted(lines, key=lambda line: tuple(map(str, key_of(line)))))


if __name__ == "__main__":
    main()
