"""`gw.sklearn.MixtureOfExpertsClassifier` beside scikit-learn's classifiers.

- `folds`: digits, breast_cancer, wine and Adult (its 32,561 training rows), 5 stratified folds. Width, learning rate
  and weight decay of the mixture and of `MLPClassifier` are searched over the same values, on a fifth of each fold's
  training rows (of at most 5000 of them); so are the one setting of LogisticRegression and the two of
  HistGradientBoosting. The best in log loss is fitted on all rows of the fold.
- `seeds`: breast_cancer, 400 training rows and 169 test rows drawn anew for each of 32 seeds; 20 experts, and
  `MLPClassifier` as wide as one expert and as wide as all, without a search.

Writes `results/classifiers.json` and the tables of docs/sklearn.md; a data set that is named alone leaves the rows of
the others. An hour on 2 cores.

    OMP_NUM_THREADS=1 python benchmarks/classifiers.py [digits breast_cancer wine adult seeds] [--jobs 2]
"""

import argparse
import itertools
import json
import time
import warnings
from collections.abc import Callable, Iterator
from statistics import mean, stdev
from typing import Any

import joblib
import numpy as np
import polars as pl
import torch
from common import RESULTS, adult, bundled, fill_page, table, write_result
from sklearn.base import ClassifierMixin
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

import gatewise as gw
from gatewise.metrics import Tally

FOLDS, SEARCHED, LINE = 5, 5000, dict[str, Any]
OURS, MLP, LOGISTIC, BOOSTED = "mixture of experts", "MLPClassifier", "LogisticRegression", "HistGradientBoosting"
WIDTHS, RATES, DECAYS = (64, 256), (1e-3, 3e-3), (1e-4, 1e-2)
NETWORK = [{"width": w, "rate": r, "decay": d} for w, r, d in itertools.product(WIDTHS, RATES, DECAYS)]


def mixture(text: list[str], seed: int, width: int, rate: float, decay: float) -> ClassifierMixin:
    return gw.sklearn.MixtureOfExpertsClassifier(
        expert_hidden=(width,), lr=rate, weight_decay=decay, early_stopping=True, random_state=seed
    )


def prepared(text: list[str], model: ClassifierMixin, encoder: Any) -> ClassifierMixin:
    """The model behind an encoder of the text columns; other columns are standardised."""
    return make_pipeline(make_column_transformer((encoder, text), remainder=StandardScaler()), model)


def perceptron(text: list[str], seed: int, width: int, rate: float, decay: float) -> ClassifierMixin:
    model = MLPClassifier(
        (width,), learning_rate_init=rate, alpha=decay, early_stopping=True, max_iter=300, random_state=seed
    )
    return prepared(text, model, OneHotEncoder(handle_unknown="ignore", sparse_output=False))


def logistic(text: list[str], seed: int, strength: float) -> ClassifierMixin:
    model = LogisticRegression(C=strength, max_iter=2000)
    return prepared(text, model, OneHotEncoder(handle_unknown="ignore"))


def boosted(text: list[str], seed: int, rate: float, leaves: int) -> ClassifierMixin:
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    model = HistGradientBoostingClassifier(
        learning_rate=rate, max_leaf_nodes=leaves, early_stopping=True, max_iter=500, random_state=seed
    )
    return prepared(text, model, encoder)


MODELS: dict[str, tuple[Callable[..., ClassifierMixin], list[dict[str, float]]]] = {
    OURS: (mixture, NETWORK),
    MLP: (perceptron, NETWORK),
    LOGISTIC: (logistic, [{"strength": c} for c in (0.01, 0.1, 1.0, 10.0)]),
    BOOSTED: (boosted, [{"rate": r, "leaves": n} for r in (0.03, 0.1) for n in (8, 31)]),
}


DATA: dict[str, Callable[[], tuple[pl.DataFrame, np.ndarray]]] = {
    "digits": lambda: bundled(load_digits),
    "breast_cancer": lambda: bundled(load_breast_cancer),
    "wine": lambda: bundled(load_wine),
    "adult": adult,
}


def fitted(model: ClassifierMixin, x: pl.DataFrame, y: np.ndarray) -> ClassifierMixin:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence, in a search
        return model.fit(x, y)


def searched(name: str, text: list[str], x: pl.DataFrame, y: np.ndarray, seed: int) -> dict[str, float]:
    """The settings with the least log loss on a fifth of the rows."""
    make, grid = MODELS[name]
    rows = np.arange(len(y))
    if len(y) > SEARCHED:
        rows, _ = train_test_split(rows, train_size=SEARCHED, stratify=y, random_state=seed)
    inner, held = train_test_split(rows, test_size=0.2, stratify=y[rows], random_state=seed)

    def loss(settings: dict[str, float]) -> float:
        model = fitted(make(text, seed, **settings), x[inner], y[inner])
        return log_loss(y[held], model.predict_proba(x[held]), labels=model.classes_)

    return min(grid, key=loss)


def fold(data: str, name: str, number: int) -> LINE:
    """One model on one fold."""
    x, y = DATA[data]()
    text = [column for column, kind in x.schema.items() if kind == pl.String]
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(x, y)
    train, test = next(itertools.islice(folds, number, None))
    started = time.perf_counter()
    settings = searched(name, text, x[train], y[train], number)
    model = fitted(MODELS[name][0](text, number, **settings), x[train], y[train])
    seconds = time.perf_counter() - started
    probabilities = model.predict_proba(x[test])
    return {
        "data": data,
        "model": name,
        "fold": number,
        "log_loss": log_loss(y[test], probabilities, labels=model.classes_),
        "accuracy": accuracy_score(y[test], model.classes_[probabilities.argmax(1)]),
        "seconds": seconds,
        "settings": settings,
    }


SEEDS = range(32)
TWENTY = "mixture of 20 experts of 64"
SEEDED: dict[str, Callable[[int], ClassifierMixin]] = {
    TWENTY: lambda seed: gw.sklearn.MixtureOfExpertsClassifier(20, expert_hidden=(64,), random_state=seed),
    "MLPClassifier (64)": lambda seed: perceptron([], seed, 64, 1e-3, 1e-4),
    "MLPClassifier (1280)": lambda seed: perceptron([], seed, 1280, 1e-3, 1e-4),
}


def seeded(name: str, seed: int) -> LINE:
    """400 rows to learn from, 169 for the test."""
    x, y = DATA["breast_cancer"]()
    train, test = train_test_split(np.arange(len(y)), train_size=400, stratify=y, random_state=seed)
    model = fitted(SEEDED[name](seed), x[train], y[train])
    probabilities = model.predict_proba(x[test])
    return {
        "data": "seeds",
        "model": name,
        "seed": seed,
        "log_loss": log_loss(y[test], probabilities),
        "accuracy": accuracy_score(y[test], probabilities.argmax(1)),
        "ece": calibration_error(probabilities, y[test]),
    }


def calibration_error(probabilities: np.ndarray, y: np.ndarray) -> float:
    """Expected calibration error of the predicted class, as gatewise measures its own."""
    tally = Tally(1, probabilities.shape[1])
    log_probs = torch.from_numpy(probabilities).log().unsqueeze(1)  # as of one expert, whom the gate always asks
    tally.update(torch.zeros(len(y), 1), log_probs, torch.from_numpy(y))
    return tally.result().ece


def cells(parts: list[str]) -> Iterator[tuple[Any, ...]]:
    for data in DATA:
        if data in parts:
            yield from ((fold, *cell) for cell in itertools.product([data], MODELS, range(FOLDS)))
    if "seeds" in parts:
        yield from ((seeded, *cell) for cell in itertools.product(SEEDED, SEEDS))


def spread(values: list[float]) -> str:
    return f"{mean(values):.4f} ± {stdev(values):.4f}"


def folds_table(lines: list[LINE]) -> str:
    rows, ahead = [], []
    for data in DATA:
        of = {name: [line for line in lines if (line["data"], line["model"]) == (data, name)] for name in MODELS}
        if not all(of.values()):
            continue
        for name, found in of.items():
            shown = {"data": data, "model": name, "log loss": spread([line["log_loss"] for line in found])}
            shown |= {"accuracy": spread([line["accuracy"] for line in found])}
            rows.append(shown | {"seconds": f"{mean(line['seconds'] for line in found):.1f}"})
        ours, other = (mean(line["log_loss"] for line in of[name]) for name in (OURS, MLP))
        ahead.append(f"{data}: {other - ours:+.4f}")
    return f"{table(rows)}\n\nLog loss of MLPClassifier less ours: {', '.join(ahead)}."


def seeds_table(lines: list[LINE]) -> str:
    rows = []
    for name in SEEDED:
        found = [line for line in lines if line["model"] == name]
        row = {"model": name, "accuracy": spread([line["accuracy"] for line in found])}
        row |= {"log predictive density": spread([-line["log_loss"] for line in found])}
        rows.append(row | {"ECE": spread([line["ece"] for line in found])})
    return table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(DATA)}, seeds; default all")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    parts = arguments.parts or [*DATA, "seeds"]
    if unknown := set(parts) - {*DATA, "seeds"}:
        parser.error(f"unknown part {min(unknown)}; parts: {', '.join(DATA)}, seeds")
    path = RESULTS / "classifiers.json"
    lines = json.loads(path.read_text())["rows"] if path.exists() else []
    lines = [line for line in lines if line["data"] not in parts]
    calls = [joblib.delayed(function)(*given) for function, *given in cells(parts)]
    for line in joblib.Parallel(arguments.jobs, return_as="generator_unordered")(calls):
        lines.append(line)
        print(*(f"{value:.4f}" if isinstance(value, float) else value for value in line.values()), flush=True)
    lines.sort(key=lambda line: (line["data"], line["model"], line.get("fold", line.get("seed"))))
    write_result("classifiers", lines)
    folds, seeds = folds_table(lines), [line for line in lines if line["data"] == "seeds"]
    print(f"\n{folds}")
    fill_page("docs/sklearn.md", "folds", folds)
    if seeds:
        print(f"\n{seeds_table(seeds)}")
        fill_page("docs/sklearn.md", "seeds", seeds_table(seeds))


if __name__ == "__main__":
    main()
