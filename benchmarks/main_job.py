"""The main job on real data, with the defaults: accuracy, NLL, top-1, experts used, and whether the gate matters.

Each row is measured on test rows by the code behind `gatewise train`; `bound` is what the figure must reach. Prints a
table, writes `results/main_job.json`, fills README.md; exits with status 1 if a bound is missed. About ten minutes on
2 cores.

    python benchmarks/main_job.py [digits adult mnist linear collapse]
"""

import argparse
import operator
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from common import data_file, fill_page, table, write_result

from gatewise.config import load_config
from gatewise.runs import Run, train

Row = dict[str, Any]
HOLDS = {">=": operator.ge, "<=": operator.le}


def run(**keys: Any) -> Run:
    """A finished run in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        return train(load_config(keys), Path(folder) / "run")


def row(what: str, measured: float, sign: str, bound: float) -> Row:
    return {"what": what, "measured": measured, "bound": f"{sign} {bound}", "met": HOLDS[sign](measured, bound)}


def digits() -> Iterator[Row]:
    tests = [run(data="digits", seed=seed).summary["test"] for seed in range(3)]
    mean = {key: statistics.mean(test[key] for test in tests) for key in tests[0]}
    yield row("digits, 3 seeds: mixture accuracy", mean["accuracy"], ">=", 0.977)
    yield row("digits, 3 seeds: mixture NLL", mean["nll"], "<=", 0.085)
    yield row("digits, 3 seeds: top-1 NLL - mixture NLL", mean["nll_top1"] - mean["nll"], "<=", 0.015)
    yield row("digits, 3 seeds: fewest experts used", min(test["experts_used"] for test in tests), ">=", 8)
    yield row("digits, 3 seeds: least I(z;x), nats", min(test["mutual_information"] for test in tests), ">=", 0.05)


def adult() -> Iterator[Row]:
    files = {"data": str(data_file("adult-train.csv")), "test": str(data_file("adult-test.csv"))}
    for seed in range(3):
        test = run(**files, target="income", seed=seed).summary["test"]
        yield row(f"Adult, seed {seed}: mixture accuracy", test["accuracy"], ">=", 0.857)
        yield row(f"Adult, seed {seed}: mixture NLL", test["nll"], "<=", 0.309)
        lost = test["accuracy"] - test["accuracy_top1"]
        yield row(f"Adult, seed {seed}: mixture - top-1 accuracy", lost, "<=", 0.002)


def mnist() -> Iterator[Row]:
    started = time.perf_counter()
    test = run(data=str(data_file("mnist.npz"))).summary["test"]
    minutes = (time.perf_counter() - started) / 60
    yield row("MNIST: mixture accuracy", test["accuracy"], ">=", 0.978)
    yield row("MNIST: minutes for everything", minutes, "<=", 4.0)


def linear() -> Iterator[Row]:
    """8 linear experts: what the gate knows is lost when its output is shuffled over the test rows."""
    trained = run(data=str(data_file("mnist.npz")), expert="linear")
    x, y = trained.model.rows(trained.test_rows())
    with torch.inference_mode():
        log_gate, log_experts = trained.model.mixture.expert_log_probs(x)
        likelihoods = log_experts[torch.arange(len(y)), :, y]
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
        nll = -(log_gate + likelihoods).logsumexp(-1).mean().item()
        shuffled = -(log_gate[order] + likelihoods).logsumexp(-1).mean().item()
    yield row("MNIST, 8 linear experts: NLL lost by a shuffled gate", shuffled - nll, ">=", 0.05)


def collapse() -> Iterator[Row]:
    bare = {"objective": "jensen", "estimator": "score-function", "regulariser": {}}
    yield row(
        "digits, score function, no regulariser: warnings", len(run(data="digits", **bare).summary["warnings"]), ">=", 1
    )
    yield row("digits, the defaults: warnings", len(run(data="digits").summary["warnings"]), "<=", 0)


PARTS = {part.__name__: part for part in (digits, adult, mnist, linear, collapse)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", default=list(PARTS))
    parts = parser.parse_args().parts
    if unknown := set(parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    rows = [row for part in parts for row in PARTS[part]()]
    print(table(rows))
    if len(parts) == len(PARTS):
        fill_page("README.md", "main job", table([{**row, "met": "yes" if row["met"] else "no"} for row in rows]))
        write_result("main_job", rows)
    sys.exit(0 if all(row["met"] for row in rows) else 1)


if __name__ == "__main__":
    main()
