"""Cost of small tables: `fit` with defaults beside scikit-learn's `MLPClassifier`, and commands beside `import torch`.

- `fit`: the classification tables of the shared folder and scikit-learn's own sets, 5 splits (a fifth of the rows for
  the test, stratified): processor seconds of `fit` and log loss, ours and that of `MLPClassifier(early_stopping=True)`
  in the usual pipeline, in the same process, one thread.
- `adult`: the same on Adult's 32,561 training rows and 16,281 test rows, 1 seed.
- `commands`: processor seconds of commands, as a multiple of `python -c "import torch"` in the same run; median of 5.
- `iris`, `digits`: processor seconds of `gatewise train` on them, all told.

Figures of another version stand beside those of this one: measure it with `PYTHONPATH=… --build before`. Writes
`results/tables.json` and fills docs/speed.md. Half an hour on a quiet machine; what is measured already is left out,
but with `--fresh`.

    OMP_NUM_THREADS=1 python benchmarks/tables.py [fit adult commands iris digits] [--build B] [--only pima] [--fresh]
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from math import exp, log
from statistics import mean, median, stdev
from typing import Any

import numpy as np
import polars as pl
import torch
from common import RESULTS, adult, bundled, data_file, fill_page, table, write_result
from sklearn import datasets
from sklearn.base import ClassifierMixin
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from gatewise.sklearn import MixtureOfExpertsClassifier

LINES, SPLITS, NOW = RESULTS / "tables.jsonl", range(5), "now"
Line = dict[str, Any]
Table = tuple[pl.DataFrame, np.ndarray]


def read(name: str, target: int = -1) -> Table:
    """A table without a header whose missing values are question marks."""
    frame = pl.read_csv(data_file(f"tables/{name}.csv"), has_header=False, null_values="?", infer_schema_length=None)
    column = frame.columns[target]
    frame = frame.filter(pl.col(column).is_not_null())
    return frame.drop(column), frame[column].cast(pl.String).to_numpy()


DATA: dict[str, Callable[[], Table]] = {
    "pima": lambda: read("pima-indians-diabetes"),
    "german": lambda: read("german"),
    "phoneme": lambda: read("phoneme"),
    "ionosphere": lambda: read("ionosphere"),
    "banknote": lambda: read("banknote_authentication"),
    "breast-cancer": lambda: read("breast-cancer"),
    "horse-colic": lambda: read("horse-colic", 23),
    "winequality": lambda: read("winequality-white"),
    "iris": lambda: bundled(datasets.load_iris),
    "wine": lambda: bundled(datasets.load_wine),
    "wisconsin": lambda: bundled(datasets.load_breast_cancer),
    "digits": lambda: bundled(datasets.load_digits),
}


def perceptron(frame: pl.DataFrame, seed: int) -> ClassifierMixin:
    text = [name for name, kind in frame.schema.items() if kind == pl.String]
    coded = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="missing", missing_values=None),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    )
    prepared = make_column_transformer(
        (coded, text), remainder=make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
    )
    return make_pipeline(prepared, MLPClassifier(early_stopping=True, random_state=seed))


def mixture(frame: pl.DataFrame, seed: int) -> ClassifierMixin:
    return MixtureOfExpertsClassifier(random_state=seed)


MODELS = {"ours": mixture, "MLPClassifier": perceptron}


def fitted(name: str, train: Table, test: Table, seed: int) -> Line:
    """Processor seconds of this process, which has one thread, and the log loss on the test rows."""
    model = MODELS[name](train[0], seed)
    started = time.process_time()
    model.fit(*train)
    seconds = time.process_time() - started
    probabilities = model.predict_proba(test[0])
    # a class that is only in the test rows is left out, for both
    known = np.isin(test[1], model.classes_)
    return {"seconds": seconds, "log_loss": log_loss(test[1][known], probabilities[known], labels=model.classes_)}


def split(data: str, number: int, name: str) -> Line:
    x, y = DATA[data]()
    values, counts = np.unique(y, return_counts=True)
    stratify = y if counts.min() > 5 else np.where(np.isin(y, values[counts <= 5]), values[counts.argmax()], y)
    train, test = train_test_split(np.arange(len(y)), test_size=0.2, stratify=stratify, random_state=number)
    return fitted(name, (x[train], y[train]), (x[test], y[test]), number)


def whole(data: str, number: int, name: str) -> Line:
    return fitted(name, *(adult(f"adult-{part}.csv") for part in ("train", "test")), number)


PYTHON = sys.executable
GATEWISE = [PYTHON, "-m", "gatewise"]
IMPORT = "import torch"
COMMANDS: dict[str, list[str]] = {
    IMPORT: [PYTHON, "-c", IMPORT],
    "import gatewise": [PYTHON, "-c", "import gatewise"],
    "--help": [*GATEWISE, "--help"],
    "--version": [*GATEWISE, "--version"],
    "config": [*GATEWISE, "config"],
    "estimators": [*GATEWISE, "estimators"],
    "train --wrong": [*GATEWISE, "train", "--wrong", "1"],
    "predict of 100 rows": [*GATEWISE, "predict", "{run}", "{rows}", "-o", "{out}"],
}


def processed(words: list[str]) -> tuple[float, float]:
    """Processor seconds of a command, and its peak memory in MiB."""
    # the peak of all children so far is what the system tells: each command has a parent of its own
    code = (
        "import resource, subprocess, sys, json\n"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))"
    )
    seconds, peak = json.loads(subprocess.run([PYTHON, "-c", code, *words], capture_output=True, check=True).stdout)
    return seconds, peak


def command(data: str, number: int, name: str) -> Line:
    with tempfile.TemporaryDirectory() as folder:
        places = {"run": f"{folder}/run", "rows": f"{folder}/rows.csv", "out": f"{folder}/out.csv"}
        if "{run}" in COMMANDS[name]:
            subprocess.run([*GATEWISE, "train", "iris", "--epochs", "2", "--out", places["run"]], capture_output=True)
            x, _ = datasets.load_iris(return_X_y=True, as_frame=True)
            x.head(100).to_csv(places["rows"], index=False)
        found = [processed([word.format(**places) for word in COMMANDS[name]]) for _ in range(5)]
    return {"seconds": median(seconds for seconds, _ in found), "peak_mib": max(peak for _, peak in found)}


def training(data: str, number: int, name: str) -> Line:
    with tempfile.TemporaryDirectory() as folder:
        seconds, peak = processed([*GATEWISE, "train", data, "--out", f"{folder}/run"])
        with open(f"{folder}/run/summary.json", encoding="utf-8") as file:
            test = json.load(file)["test"]
    return {"seconds": seconds, "peak_mib": peak, "log_loss": test["nll"]}


def cells(parts: list[str], only: list[str]) -> Iterator[tuple[Callable[..., Line], str, str, int, str]]:
    """What measures a cell, the part, the data, the split, and the name."""
    if "fit" in parts:
        names = [name for name in DATA if not only or name in only]
        yield from ((split, "fit", *cell) for cell in itertools.product(names, SPLITS, MODELS))
    if "adult" in parts:
        yield from ((whole, "adult", "adult", 0, name) for name in MODELS)
    if "commands" in parts:
        yield from ((command, "commands", "", 0, name) for name in COMMANDS)
    for data in ("iris", "digits"):
        if data in parts:
            yield training, data, data, 0, "train"


def key_of(line: Line) -> tuple[Any, ...]:
    return tuple(line[key] for key in ("build", "part", "data", "split", "name"))


def of(lines: list[Line], **wanted: Any) -> list[Line]:
    return [line for line in lines if all(line[key] == value for key, value in wanted.items())]


def geometric_mean(values: list[float]) -> float:
    return exp(mean(log(value) for value in values))


def spread(found: list[Line], key: str = "log_loss") -> str:
    values = [line[key] for line in found]
    return f"{mean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


def fits(lines: list[Line]) -> str:
    """One row a table; the build before beside this one."""
    builds = [build for build in BUILDS if of(lines, build=build)]
    rows, times = [], {build: [] for build in builds}
    for part, data in dict.fromkeys((line["part"], line["data"]) for line in lines if line["part"] in ("fit", "adult")):
        here = of(lines, part=part, data=data)
        other = of(here, name="MLPClassifier")
        row = {"table": data}
        for build in builds:
            ours = of(here, name="ours", build=build)
            theirs = of(other, build=build) or other
            if not ours:
                row |= {f"seconds, {build}": "-", f"times, {build}": "-", f"log loss, {build}": "-"}
                continue
            ratio = mean(line["seconds"] for line in ours) / mean(line["seconds"] for line in theirs)
            if part == "fit":
                times[build].append(ratio)
            row[f"seconds, {build}"] = f"{mean(line['seconds'] for line in ours):.2f}"
            row |= {f"times, {build}": f"{ratio:.1f}", f"log loss, {build}": spread(ours)}
        theirs = of(other, build=NOW) or other
        row["MLPClassifier's seconds"] = f"{mean(line['seconds'] for line in theirs):.2f}"
        rows.append(row | {"its log loss": spread(theirs)})
    means = ", ".join(f"{geometric_mean(found):.1f} {build}" for build, found in times.items() if found)
    return f"{table(rows)}\n\nTimes MLPClassifier's processor seconds, geometric mean without Adult: {means}."


def commands(lines: list[Line]) -> str:
    builds = [build for build in BUILDS if of(lines, build=build)]
    rows = []
    for name in [*COMMANDS, "train iris", "train digits"]:
        row = {"command": name}
        for build in builds:
            word, _, data = name.partition(" ")
            here = (
                of(lines, build=build, name=word, data=data)
                if data in ("iris", "digits")
                else of(lines, build=build, part="commands", name=name)
            )
            torch_alone = of(lines, build=build, part="commands", name=IMPORT)
            seconds = here[0]["seconds"] if here else None
            row[f"seconds, {build}"] = "-" if seconds is None else f"{seconds:.2f}"
            known = seconds is not None and torch_alone
            row[f"of import torch, {build}"] = f"{seconds / torch_alone[0]['seconds']:.2f}" if known else "-"
            row[f"peak MiB, {build}"] = f"{here[0]['peak_mib']:.0f}" if here else "-"
            row[f"NLL, {build}"] = f"{here[0]['log_loss']:.4f}" if here and "log_loss" in here[0] else "-"
        if any(value != "-" for value in list(row.values())[1:]):
            rows.append(row)
    return table(rows)


BUILDS = ("before", NOW)
PARTS = ("fit", "adult", "commands", "iris", "digits")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; default all")
    parser.add_argument("--build", choices=BUILDS, default=NOW, help="whose figures they are")
    parser.add_argument("--only", default="", help="tables of `fit`, with commas")
    parser.add_argument("--fresh", action="store_true", help="measure again what is measured")
    arguments = parser.parse_args()
    parts = arguments.parts or list(PARTS)
    if unknown := set(parts) - {*PARTS}:
        parser.error(f"unknown part {min(unknown)}; parts: {', '.join(PARTS)}")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    RESULTS.mkdir(exist_ok=True)
    stored = RESULTS / "tables.json"
    lines: list[Line] = json.loads(stored.read_text())["rows"] if stored.exists() else []
    if LINES.exists():
        lines += [json.loads(text) for text in LINES.read_text().splitlines()]
    lines = list({key_of(line): line for line in lines}.values())
    missing = [
        (measure, part, *cell)
        for measure, part, *cell in cells(parts, [name for name in arguments.only.split(",") if name])
        if arguments.fresh or (arguments.build, part, *cell) not in {key_of(line) for line in lines}
    ]
    with LINES.open("a") as file:
        for measure, part, data, number, name in missing:
            line = {"build": arguments.build, "part": part, "data": data, "split": number, "name": name}
            line |= measure(data, number, name)
            file.write(json.dumps(line) + "\n")
            file.flush()
            print(*(f"{value:.4f}" if isinstance(value, float) else value for value in line.values()), flush=True)
            lines.append(line)
    lines = list({key_of(line): line for line in lines}.values())
    for part, text in (("fits", fits(lines)), ("commands", commands(lines))):
        print(f"\n{text}")
        fill_page("docs/speed.md", part, f"`python benchmarks/tables.py`:\n\n{text}\n")
    write_result("tables", sorted(lines, key=lambda line: tuple(map(str, key_of(line)))))
    LINES.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
