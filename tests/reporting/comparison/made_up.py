"""Comparisons that never were, in the shape that `gatewise compare` writes."""

import copy
from collections.abc import Sequence
from typing import Any

from tests.reporting.runs import make_history, make_metrics

SPREAD = (0.0, 0.02, -0.01, 0.015, -0.005)


def make_interval(mean: float, half: float | None = 0.01) -> dict[str, Any]:
    ends = {"low": None, "high": None} if half is None else {"low": mean - half, "high": mean + half}
    return {"mean": mean, **ends}


def make_figures(nll: float, seeds: int, **changes: float) -> dict[str, Any]:
    half = None if seeds < 2 else 0.0321
    means = {
        "nll": nll, "accuracy": 0.9123, "nll_top1": nll + 0.0333, "accuracy_top1": 0.8765, "experts_used": 7.4,
        "dead_experts": 0.6, "effective_experts": 6.0, "mutual_information": 0.8,
    }  # fmt: skip
    return {key: make_interval(value, half) for key, value in {**means, **changes}.items()}


def make_comparison(
    names: Sequence[str] = ("jensen enumeration", "marginal", "jensen rebar"), seeds: int = 3, **changes: Any
) -> dict[str, Any]:
    """The combinations' NLL rises by 0.05 from 0.2; every interval of a difference is ±0.02 wide."""
    combinations, cells = [], []
    for index, name in enumerate(names):
        nll, half = 0.2 + 0.05 * index, None if seeds == 1 else 0.02
        combinations.append({
            "name": name, "objective": name.split()[0], "estimator": name.split()[-1], "options": {}, "samples": 1,
            "experts": 8, "evaluations": 8, "seeds_done": seeds, "seeds_failed": 0, "epochs": 41.7, "seconds": 12.34,
            "validation": make_figures(nll, seeds), "test": make_figures(nll, seeds),
            "difference": {**make_interval(0.05 * index, half), "seeds": seeds} if index else None,
        })  # fmt: skip
        for seed in range(seeds):
            metrics = make_metrics(8, 600, nll=nll + SPREAD[seed])
            cells.append({
                "combination": name, "seed": seed, "folder": f"cells/{index}-seed{seed}", "status": "done",
                "reason": None, "trained_before": False, "gatewise": "0.1.0", "epochs": 60, "best_epoch": 47,
                "still_improving": False, "seconds": 12.0, "validation": metrics, "test": metrics, "warnings": [],
            })  # fmt: skip
    comparison = {
        "gatewise": "0.1.0", "command": "gatewise compare digits --estimators enumeration,rebar --seeds 3",
        "config": {"data": "digits"}, "seeds": list(range(seeds)), "confidence": 0.95, "threads": 1, "judged": "test",
        "data": {
            "name": "digits", "target": None, "rows": 1797, "train_rows": 900, "validation_rows": 297,
            "test_rows": 600, "columns": 64, "classes": ["0", "1"], "hash": "9f" * 32,
        },
        "combinations": combinations, "cells": cells, "seconds": 99.0,
    }  # fmt: skip
    return {**copy.deepcopy(comparison), **changes}


def make_histories(comparison: dict[str, Any], epochs: int = 30) -> dict[str, list[dict[str, Any]]]:
    history = [{**epoch, "validation_experts_used": 8} for epoch in make_history(epochs)]
    return {cell["folder"]: history for cell in comparison["cells"] if cell["status"] == "done"}
