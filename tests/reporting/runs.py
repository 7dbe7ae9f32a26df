"""Runs that never were: summaries and histories in the shape that training writes."""

import base64
import copy
from typing import Any

import numpy as np

from gatewise.runs.expert_profiles import encode


def make_metrics(experts: int, rows: int, **changes: Any) -> dict[str, Any]:
    metrics = {
        "accuracy": 0.956, "nll": 0.165, "accuracy_top1": 0.951, "nll_top1": 0.198, "jensen": -0.21,
        "bound_gap": 0.045, "gate_entropy": 0.74, "mutual_information": 1.21, "effective_experts": 0.9 * experts,
        "experts_used": experts, "dead_experts": 0, "ece": 0.018, "brier": 0.071, "rows": rows,
    }  # fmt: skip
    return {**metrics, **changes}


def make_details(experts: int, classes: int, rows: int) -> dict[str, Any]:
    draw = np.random.default_rng(0)
    gate = draw.dirichlet(np.full(experts, 0.3), classes)
    labels = draw.integers(0, classes, rows)
    predicted = np.where(draw.random(rows) < 0.95, labels, draw.integers(0, classes, rows))
    confusion = np.zeros((classes, classes), dtype=int)
    np.add.at(confusion, (labels, predicted), 1)
    count = [0] * 5 + [int(c) for c in draw.multinomial(rows, [0.01] * 5 + [0.02, 0.03, 0.05, 0.1, 0.75])]
    middle = (np.arange(15) + 0.5) / 15
    return {
        "expert_share": draw.dirichlet(np.full(experts, 4.0)).tolist(),
        "mean_gate": gate.mean(0).tolist(),
        "gate_by_class": gate.tolist(),
        "reliability": {
            "confidence": [float(m) if c else None for m, c in zip(middle, count, strict=True)],
            "accuracy": [float(m**1.3) if c else None for m, c in zip(middle, count, strict=True)],
            "count": count,
        },
        "confusion": confusion.tolist(),
        "bound_gap": {"edges": [0.01, 0.1], "count": [rows - 30, 20, 10], "total": [0.5, 1.5, 8.0]},
    }


def make_images(experts: int, each: int = 2, side: int = 8, classes: int = 10) -> dict[str, Any]:
    """Pictures of noise, which no compression makes smaller; the second of each expert is a mistake."""
    draw = np.random.default_rng(2)

    def image(place: int) -> dict[str, Any]:
        pixels = draw.integers(0, 256, (side, side, 3 if side > 8 else 1), dtype=np.uint8)
        label = str(place % classes)
        wrong = str((place + 1) % classes) if place == 1 else label
        png = base64.b64encode(encode(pixels)).decode()
        return {"png": png, "label": label, "predicted": wrong, "probability": 0.987 - 0.1 * place}

    told = [
        {"expert": expert, "share": 1 / experts, "images": [image(place) for place in range(each)]}
        for expert in range(experts)
    ]
    return {"rows": 360, "experts": told}


def make_values(experts: int) -> dict[str, Any]:
    values = [
        {"column": "age", "value": None, "mean": 61.25, "overall": 40.5, "deviations": 1.23},
        {"column": "job", "value": "cook", "mean": 0.5, "overall": 0.25, "deviations": 0.58},
        {"column": "income", "value": None, "mean": 12345.6, "overall": 23456.7, "deviations": -0.4},
    ]
    told = [{"expert": expert, "share": 1 / experts, "values": copy.deepcopy(values)} for expert in range(experts)]
    return {"rows": 360, "experts": told}


def make_summary(experts: int = 8, classes: int = 10, **changes: Any) -> dict[str, Any]:
    summary = {
        "gatewise": "0.1.0",
        "command": "gatewise train digits --experts 8 --estimator score-function --seed 3 --out runs/digits",
        "config": {
            "data": "digits", "experts": experts, "objective": "jensen", "estimator": "score-function", "epochs": 60,
            "baseline": "leave-one-out", "samples": 2, "temperature": "linear:1:0.3", "gate_entropy": 0.1,
            "batch_size": 128, "learning_rate": 1e-3, "seed": 3, "target": None, "amp": False,
        },
        "data": {
            "name": "digits", "rows": 1797, "train_rows": 1257, "validation_rows": 180, "test_rows": 360,
            "columns": 64, "classes": [str(label) for label in range(classes)], "hash": "9f" * 32,
        },
        "model": {
            "experts": experts, "parameters": 84312, "evaluations": min(2, experts), "objective": "jensen",
            "estimator": "score-function",
        },
        "best_epoch": 47, "epochs": 60, "seconds": 193.4,
        "validation": make_metrics(experts, 180, accuracy=0.961, nll=0.151),
        "test": make_metrics(experts, 360),
        "details": make_details(experts, classes, 360), "typical": make_images(experts, classes=classes),
        "warnings": [], "interrupted": False,
    }  # fmt: skip
    return {**copy.deepcopy(summary), **changes}


def make_label_summary(experts: int = 4, labels: int = 3, **changes: Any) -> dict[str, Any]:
    """Of a run that predicts labels called l0, l1, …; the last one is never there."""
    summary, draw = make_summary(experts, 2, typical=make_values(experts)), np.random.default_rng(3)
    names = [f"l{i}" for i in range(labels)]
    each = [{"name": name, "share": 0.3, "accuracy": 0.91, "f1": 0.84, "brier": 0.07} for name in names]
    each[-1] |= {"share": 0.0}
    figures = {"accuracy": 0.91, "accuracy_top1": 0.905, "hamming_loss": 0.09, "exact_match": 0.772, "f1_micro": 0.84}
    figures |= {"f1_macro": 0.81, "ece": None, "labels": each}
    summary["data"] |= {"classes": [], "labels": [{"name": name, "values": ["no", "yes"]} for name in names]}
    summary["model"]["head"] = "bernoulli"
    by_label = [*draw.dirichlet(np.full(experts, 0.5), labels - 1).tolist(), [None] * experts]
    used = draw.dirichlet(np.full(experts, 4.0)).tolist()
    summary["details"] = {"expert_share": used, "mean_gate": used, "gate_by_class": by_label}
    summary["test"], summary["validation"] = (make_metrics(experts, rows, **figures) for rows in (360, 180))
    return {**summary, **changes}


def make_history(epochs: int = 60) -> list[dict[str, Any]]:
    draw = np.random.default_rng(1)
    history = []
    for epoch in range(1, epochs + 1):
        done = epoch / epochs
        falling = float(np.exp(-5 * done))
        history.append({
            "epoch": epoch, "step": 10 * epoch, "seconds": 3.2 * epoch, "temperature": 1 - 0.7 * done,
            "train_loss": 2.2 * falling, "train_objective": -2.3 * falling - 0.05, "train_gate_entropy": 0.6 + falling,
            "train_mutual_information": 1.3 - falling, "train_effective_experts": 7.1, "train_experts_used": 8,
            "validation_nll": 2.2 * falling + 0.15 + 0.05 * done**2 + float(draw.normal(0, 0.01)),
            "validation_accuracy": 0.96 - 0.8 * falling + float(draw.normal(0, 0.004)),
            "validation_accuracy_top1": 0.95 - 0.8 * falling + float(draw.normal(0, 0.006)),
            "validation_gate_entropy": 0.65 + falling, "validation_mutual_information": 1.2 - falling,
        })  # fmt: skip
    return history
