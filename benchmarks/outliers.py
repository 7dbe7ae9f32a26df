"""Numbers far outside those of most rows: brought near (`outliers = "squash"`, the default) or kept where they are.

Each table is trained by `gatewise train`'s defaults in both ways, with several seeds, which have another split; the
mean difference of the two is told beside its spread over the seeds. Then the two rows of abalone whose height is far
from all others' are left out of training and predicted. Tables are read from the folder in `GATEWISE_DATA`.

Writes `results/outliers.json` and the tables of docs/defaults.md. About 25 minutes of 1 core.

    OMP_NUM_THREADS=1 python benchmarks/outliers.py
"""

import argparse
import json
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from common import data_file, fill_page, table, write_result

from gatewise.config import RunConfig
from gatewise.runs import Run, train

TABLES = {
    "abalone": ("abalone", "8", "gaussian"),
    "housing": ("housing", "13", "gaussian"),
    "winequality-white": ("winequality-white", "11", "gaussian"),
    "pima-indians-diabetes": ("pima-indians-diabetes", "8", "categorical"),
    "german": ("german", "20", "categorical"),
    "phoneme": ("phoneme", "5", "categorical"),
    "ionosphere": ("ionosphere", "34", "categorical"),
    "banknote": ("banknote_authentication", "4", "categorical"),
    "horse-colic": ("horse-colic", "23", "categorical"),
}
WAYS, SEEDS = ("keep", "squash"), 3
HEIGHT, TALL = 3, 0.5
"""The column of abalone's height, and from where on it is far from all others'."""


def trained(file: Path, target: str, head: str, seed: int, way: str, out: Path) -> Run:
    settings = {"target": target, "head": head, "header": False, "seed": seed, "outliers": way}
    return train(RunConfig(data=str(file), **settings), out)


def judged(name: str, seed: int, way: str, kept: Path | None) -> dict[str, Any]:
    """The figures of one training; as they are in the file of those that are done, where they are there."""
    lines = [json.loads(text) for text in kept.read_text().splitlines()] if kept and kept.exists() else []
    key = {"table": name, "seed": seed, "outliers": way}
    if found := [line for line in lines if line.items() >= key.items()]:
        return found[0]
    file, target, head = TABLES[name]
    with tempfile.TemporaryDirectory() as folder:
        run = trained(data_file(f"tables/{file}.csv"), target, head, seed, way, Path(folder) / "run")
    error = "accuracy" if head == "categorical" else "rmse"
    line = key | {part: {each: run.summary[part][each] for each in ("nll", error)} for part in ("validation", "test")}
    print(json.dumps(line), flush=True)
    if kept:
        with kept.open("a") as opened:
            opened.write(json.dumps(line) + "\n")
    return line


def compared(lines: list[dict[str, Any]]) -> str:
    """One row a table: what was kept has, and what squashing adds to it."""
    rows = []
    for name in TABLES:
        keep, squash = ([line for line in lines if (line["table"], line["outliers"]) == (name, way)] for way in WAYS)
        row: dict[str, Any] = {"table": name}
        for part in ("validation", "test"):
            for key in keep[0][part]:
                added = [b[part][key] - a[part][key] for a, b in zip(keep, squash, strict=True)]
                row[f"{part} {'NLL' if key == 'nll' else 'accuracy or RMSE'}"] = (
                    f"{mean(line[part][key] for line in keep):.4f} {mean(added):+.4f} ± {stdev(added):.4f}"
                )
        rows.append(row)
    return table(rows)


def tall() -> list[dict[str, Any]]:
    """What is predicted of abalone's tall rows, which were not trained on."""
    lines = data_file("tables/abalone.csv").read_text().splitlines()
    far = [line for line in lines if float(line.split(",")[HEIGHT]) > TALL]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        near, asked = Path(folder) / "near.csv", Path(folder) / "far.csv"
        near.write_text("\n".join(line for line in lines if line not in far) + "\n")
        asked.write_text("\n".join(far) + "\n")
        for way in WAYS:
            run = trained(near, "8", "gaussian", 0, way, Path(folder) / way)
            for line, found in zip(far, run.predict(str(asked)).frame().to_dicts(), strict=True):
                cells = line.split(",")
                row = {"outliers": way, "height": cells[HEIGHT], "rings": cells[-1]}
                rows.append(row | {"mean": f"{found['mean']:.1f}", "sd": f"{found['sd']:.1f}"})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kept", type=Path, help="a file of finished trainings, which are not done again")
    kept = parser.parse_args().kept
    lines = [judged(name, seed, way, kept) for seed in range(SEEDS) for name in TABLES for way in WAYS]
    rows = tall()
    text = f"{compared(lines)}\n\n{table(rows)}"
    print(f"\n{text}")
    write_result("outliers", lines + rows)
    fill_page("docs/defaults.md", "outliers", text)


if __name__ == "__main__":
    main()
