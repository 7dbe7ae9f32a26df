"""The table of made-up cells: order, seeds that are missing, numbers that are none."""

import math
from pathlib import Path

from gatewise.comparison import Cell, combine
from gatewise.comparison.summary import FIGURES, Outcome, tabulate

from .conftest import quick

NAMES = ["enumeration", "rebar", "arsm", "muprop"]


def outcome(combination, seed, nll):
    cell = Cell(combination, seed, combination.config, Path(f"cells/{combination.folder}-seed{seed}"))
    if nll is None:
        return Outcome(cell, None, "it broke")
    figures = {**dict.fromkeys(FIGURES, 1.0), "nll": nll}
    data = dict.fromkeys(
        ("name", "target", "rows", "train_rows", "validation_rows", "test_rows", "columns", "classes", "hash")
    )
    return Outcome(cell, {"validation": figures, "test": figures, "epochs": 4, "best_epoch": 4, "seconds": 1.0,
                          "model": {"evaluations": 2}, "data": data, "gatewise": "0.1.0", "warnings": []})  # fmt: skip


def test_order_and_pairs_with_seeds_missing():
    combinations = combine(quick(), NAMES, ["jensen"])
    nll = [[0.5, 0.9, 0.4], [0.3, None, 0.35], [None, None, None], [math.nan, 0.1, 0.1]]
    outcomes = [
        outcome(combination, seed, nll[index][seed])
        for index, combination in enumerate(combinations)
        for seed in range(3)
    ]
    table = tabulate(combinations, outcomes)
    rows = {row["estimator"]: row for row in table["combinations"]}
    assert [row["estimator"] for row in table["combinations"]][:2] == ["rebar", "enumeration"]  # the lowest first
    assert (rows["rebar"]["seeds_done"], rows["rebar"]["seeds_failed"]) == (2, 1)
    difference = rows["enumeration"]["difference"]
    assert difference["seeds"] == 2  # only where both have a number
    assert abs(difference["mean"] - (0.2 + 0.05) / 2) < 1e-12
    assert rows["arsm"]["test"] is None
    assert rows["arsm"]["difference"] is None
    assert [cell["status"] for cell in table["cells"]].count("failed") == 4
    assert all(cell["still_improving"] for cell in table["cells"] if cell["status"] == "done")
