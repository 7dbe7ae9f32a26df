"""Numbers of Adult as learned vectors (`numeric_embedding`), beside the same model without them.

`DRAWS` settings are drawn at random from `SPACE` and `EMBEDDINGS`, and each is trained once, with seed 0. The
`FINALISTS` with the least validation NLL are trained with seeds 1 and 2 too, which have another split, and the least
mean validation NLL chooses. Test rows judge the settings that were chosen, and the same without an embedding, seed 0.
`SPACE` was narrowed by nine trainings before, on the same validation rows. Adult is read from the folder in
`GATEWISE_DATA`.

Writes `results/embeddings.json` and the tables of docs/embeddings.md; exits with status 1 if a bound is missed. About
12 minutes of 1 core.

    OMP_NUM_THREADS=1 python benchmarks/embeddings.py
"""

import argparse
import functools
import json
import operator
import random
import sys
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from common import data_file, fill_page, table, write_result

from gatewise.config import LoopConfig, load_config
from gatewise.metrics import evaluate
from gatewise.objectives import regularisers
from gatewise.runs.data import Parts, read_parts
from gatewise.runs.prepare import prepare
from gatewise.training import fit

Settings = dict[str, Any]
Line = dict[str, Any]
DRAWS, FINALISTS, SEEDS = 6, 2, 3
FILES = {"data": str(data_file("adult-train.csv")), "test": str(data_file("adult-test.csv"))}
FIXED: Settings = {"target": "income", "starts": 1, "batch_size": 256, "epochs": 40, "patience": 5}
SPACE: dict[str, list[Any]] = {
    "experts": [4, 8],
    "expert_hidden": [[256], [128, 128]],
    "lr": [1e-3, 2e-3],
    "weight_decay": [1e-2, 3e-1],
    "dropout": [0.1, 0.3],
    "numeric": ["standard", "quantile"],
}
EMBEDDINGS: list[dict[str, list[Any]]] = [
    {"numeric_embedding": ["piecewise-linear"], "numeric_bins": [128, 256], "numeric_width": [8]},
    {"numeric_embedding": ["piecewise-linear"], "numeric_bins": [512], "numeric_width": [8]},
    {"numeric_embedding": ["periodic"], "numeric_frequency": [0.1, 0.3], "numeric_width": [8, 16]},
]
"""Each has a third of the draws."""
BOUNDS = (("embedded, test accuracy", "accuracy", ">=", 0.866), ("embedded, test NLL", "nll", "<=", 0.295))
HOLDS = {">=": operator.ge, "<=": operator.le}
JUDGED = ("accuracy", "nll", "accuracy_top1", "nll_top1")


def different(count: int) -> list[Settings]:
    """So many settings, no two of them the same."""
    chance, found = random.Random(0), []
    while len(found) < count:
        space = SPACE | EMBEDDINGS[len(found) % len(EMBEDDINGS)]
        settings = {key: chance.choice(values) for key, values in space.items()}
        if settings not in found:
            found.append(settings)
    return found


@functools.cache
def parts_of(seed: int) -> Parts:
    return read_parts(load_config({**FIXED, **FILES, "seed": seed}))


def trained(settings: Settings, seed: int, kept: Path | None) -> Line:
    """The training as it is in the file of those that are done, where it is there; else done now and added to it."""
    lines = [json.loads(text) for text in kept.read_text().splitlines()] if kept and kept.exists() else []
    if found := [line for line in lines if (line["settings"], line["seed"]) == (FIXED | settings, seed)]:
        return found[0]
    line = train(FIXED | settings, seed)
    if kept:
        with kept.open("a") as file:
            file.write(json.dumps(line) + "\n")
    return line


def train(settings: Settings, seed: int) -> Line:
    """What `gatewise train` does with these settings, but for the run folder: figures of validation and test rows."""
    config, started = load_config({**FILES, **settings, "seed": seed}), time.process_time()
    torch.manual_seed(seed)
    prepared = prepare(config, parts_of(seed), torch.device("cpu"))
    mixture, rows = prepared.model.mixture, prepared.rows
    loop = LoopConfig(**{name: getattr(config, name) for name in LoopConfig.model_fields})
    balance = regularisers(config.regulariser)
    found = fit(
        mixture, prepared.objective, rows["train"], rows["validation"], loop, regularisers=balance, num_classes=2
    )
    figures = {part: evaluate(mixture, *rows[part], 2).result().to_dict() for part in ("validation", "test")}
    judged = {part: {key: each[key] for key in JUDGED} for part, each in figures.items()}
    line = {"settings": settings, "seed": seed, "epochs": len(found.history), **judged}
    line |= {"parameters": sum(p.numel() for p in mixture.parameters())}
    line |= {"seconds": round(time.process_time() - started, 1)}
    told = f"NLL {judged['validation']['nll']:.4f}  accuracy {judged['validation']['accuracy']:.4f}"
    print(f"{line['seconds']:6.1f} s  {told}  seed {seed}  {json.dumps(settings)}", flush=True)
    return line


def chosen(settings: list[Settings], seeds: int, kept: Path | None) -> tuple[list[Line], list[Line]]:
    """All trainings, and those of the settings that the validation rows choose, one a seed."""
    first = [trained(each, 0, kept) for each in settings]
    best = sorted(first, key=lambda line: line["validation"]["nll"])[:FINALISTS]
    finals = [[line, *(trained(line["settings"], seed, kept) for seed in range(1, seeds))] for line in best]
    lines = first + [line for final in finals for line in final[1:]]
    return lines, min(finals, key=lambda final: mean(line["validation"]["nll"] for line in final))


def said(values: list[float]) -> str:
    """Their mean and standard deviation."""
    return f"{mean(values):.4f} ± {stdev(values):.4f}" if len(values) > 1 else f"{values[0]:.4f}"


def compared(finals: dict[str, list[Line]]) -> str:
    rows = []
    for name, lines in finals.items():
        row = {"numbers": name, "test accuracy": said([line["test"]["accuracy"] for line in lines])}
        row |= {"test NLL": said([line["test"]["nll"] for line in lines])}
        row |= {"top-1 accuracy": said([line["test"]["accuracy_top1"] for line in lines])}
        row |= {"validation NLL": said([line["validation"]["nll"] for line in lines])}
        row |= {"parameters": lines[0]["parameters"], "seconds a training": f"{mean(x['seconds'] for x in lines):.0f}"}
        rows.append(row)
    return table(rows)


def commands(finals: dict[str, list[Line]]) -> str:
    """What was chosen, as settings of the command line."""
    lines = []
    for name, (first, *_) in finals.items():
        words = " ".join(f"{key}={json.dumps(value)}" for key, value in first["settings"].items())
        lines.append(f"- {name}: `{words}`")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=DRAWS, help="settings that are tried")
    parser.add_argument("--kept", type=Path, help="a file of finished trainings, which are not done again")
    asked = parser.parse_args()
    lines, best = chosen(different(asked.draws), SEEDS, asked.kept)
    same = {key: value for key, value in best[0]["settings"].items() if key in FIXED | SPACE}
    plain = [trained(same, 0, asked.kept)]
    finals, lines = {"embedded": best, "as they are": plain}, [*lines, *plain]
    measured = {key: mean(line["test"][key] for line in best) for key in JUDGED}
    bounds = [
        {"what": what, "measured": measured[key], "bound": f"{sign} {bound}", "met": HOLDS[sign](measured[key], bound)}
        for what, key, sign, bound in BOUNDS
    ]
    shown = table([{**row, "met": "yes" if row["met"] else "no"} for row in bounds])
    minutes = sum(line["seconds"] for line in lines) / 60
    size = f"{asked.draws} settings, {len(lines)} trainings in all, {minutes:.0f} minutes of one core."
    text = f"{compared(finals)}\n\n{shown}\n\nThe search: {size} What it chose:\n\n{commands(finals)}"
    print(f"\n{text}")
    if asked.draws == DRAWS:
        write_result("embeddings", bounds + lines)
        fill_page("docs/embeddings.md", "embeddings", text)
    sys.exit(0 if all(row["met"] for row in bounds) else 1)


if __name__ == "__main__":
    main()
