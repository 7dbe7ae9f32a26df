"""What each objective makes of the same mixture: MNIST, 8 linear experts, a 784-64-8 gate, 5 epochs.

Every run is what `gatewise train` does with AdamW at 0.001 and batches of 256, once with 0.1 × gate entropy and once
with the default balance, so that no gate collapses for want of it. Prints test NLLs with 95 % t intervals over the
seeds, their ratio to the marginal's under the same regulariser, the experts used, and how many experts were run for an
example (measured on 2000 test rows with the trained gate; K would be all). Writes `results/objectives.json` and fills
docs/objectives.md. About a quarter of a minute a run and core, 72 runs; those in the results are not made again
(`--fresh` starts anew).

    python benchmarks/objectives.py [--seeds 3] [--jobs 2] [--fresh]
"""

import argparse
import itertools
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import joblib
import torch
from common import RESULTS, data_file, fill_page, table, write_result

from gatewise.comparison.summary import mean_interval
from gatewise.config import load_config
from gatewise.config.objective import build_objective
from gatewise.runs import train

SETTINGS: dict[str, Any] = {
    "expert": "linear",
    "experts": 8,
    "gate_hidden": [64],
    "epochs": 5,
    "starts": 1,
    "batch_size": 256,
    "lr_schedule": "constant",
    "patience": 0,
    "threads": 1,
}
REGULARISERS: dict[str, dict[str, float]] = {
    "gate_entropy 0.1": {"gate_entropy": 0.1},
    "importance 0.3, load 0.3 (the default)": {"importance": 0.3, "load": 0.3},
}
WAYS: dict[str, dict[str, Any]] = {
    "marginal": {"objective": "marginal"},
    "jensen, enumeration": {"objective": "jensen"},
    "jensen, S = 2, score function, leave-one-out": {
        "objective": "jensen",
        "samples": 2,
        "estimator": "score-function",
        "baseline": "leave-one-out",
    },
    "multi-sample, S = 1, score function": {"objective": "multi-sample", "samples": 1, "estimator": "score-function"},
    "multi-sample, S = 2, vimco": {"objective": "multi-sample", "samples": 2},
    "multi-sample, S = 4, vimco": {"objective": "multi-sample", "samples": 4},
    "multi-sample, S = 8, vimco": {"objective": "multi-sample", "samples": 8},
    "stratified, 1 + 1": {"objective": "stratified"},
    "stratified, 2 + 1": {"objective": "stratified", "objective_options": {"top": 2}},
    "evidence, exact posterior": {"objective": "evidence"},
    "evidence, amortised, enumeration": {
        "objective": "evidence",
        "objective_options": {"posterior": "amortised"},
    },
    "hard-em": {"objective": "hard-em"},
}
FIGURES = ("nll", "nll_top1", "accuracy", "experts_used", "gate_entropy")
ROWS = 2000
RESULT = RESULTS / "objectives.json"


def measure(regulariser: str, way: str, seed: int) -> dict[str, Any]:
    """Train one way and return its test figures, and the experts run for an example."""
    keys = {**SETTINGS, **WAYS[way], "regulariser": REGULARISERS[regulariser]}
    keys |= {"data": str(data_file("mnist.npz")), "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        run = train(load_config(keys), Path(folder) / "run")
    spec = run.model.spec
    x, y = (part[:ROWS] for part in run.model.rows(run.test_rows()))
    torch.manual_seed(seed)
    objective = build_objective(run.config, spec.features, len(spec.classes))
    with torch.no_grad():
        evaluations = objective(run.model.mixture.observe(x, y)).info.evaluations.double().mean().item()
    figures = {"evaluations": evaluations, **{key: run.summary["test"][key] for key in FIGURES}}
    return {"regulariser": regulariser, "way": way, "seed": seed, **figures}


def summarise(lines: list[dict[str, Any]], way: str) -> dict[str, Any]:
    """Means over the seeds, of lines with one regulariser."""
    of_way = [line for line in lines if line["way"] == way]
    marginal = statistics.mean(line["nll"] for line in lines if line["way"] == "marginal")
    means = {key: mean_interval([line[key] for line in of_way]) for key in (*FIGURES, "evaluations")}
    ends = means["nll"]["low"], means["nll"]["high"]
    interval = "–" if None in ends else "{:.4f} to {:.4f}".format(*ends)
    return {
        "trained by": way,
        "NLL": means["nll"]["mean"],
        "95 %": interval,
        "of the marginal's": f"{means['nll']['mean'] / marginal:.3f}",
        "NLL top-1": means["nll_top1"]["mean"],
        "accuracy": means["accuracy"]["mean"],
        "experts used": means["experts_used"]["mean"],
        "H(z\\|x)": means["gate_entropy"]["mean"],
        "experts run": means["evaluations"]["mean"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--fresh", action="store_true")
    arguments = parser.parse_args()
    data_file("mnist.npz")
    lines = [] if arguments.fresh or not RESULT.exists() else json.loads(RESULT.read_text())["rows"]
    done = {(line["regulariser"], line["way"], line["seed"]) for line in lines}
    cells = [cell for cell in itertools.product(REGULARISERS, WAYS, range(arguments.seeds)) if cell not in done]
    calls = [joblib.delayed(measure)(*cell) for cell in cells]
    for line in joblib.Parallel(arguments.jobs, return_as="generator_unordered")(calls):
        lines.append(line)
        print(f"{line['regulariser']}: {line['way']}, seed {line['seed']}: NLL {line['nll']:.4f}", flush=True)
    sections = []
    for name in REGULARISERS:
        of_name = [line for line in lines if line["regulariser"] == name]
        sections.append(f"### {name}\n\n{table([summarise(of_name, way) for way in WAYS])}\n")
    text = "\n".join(sections)
    print(f"\n{text}")
    seeds = "1 seed" if arguments.seeds == 1 else f"{arguments.seeds} seeds"
    command = f"python benchmarks/objectives.py --seeds {arguments.seeds}"
    fill_page("docs/objectives.md", "objectives", f"`{command}`, {seeds}:\n\n{text}")
    write_result(
        "objectives", sorted(lines, key=lambda line: (line["regulariser"], list(WAYS).index(line["way"]), line["seed"]))
    )


if __name__ == "__main__":
    main()
