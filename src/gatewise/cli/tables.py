"""Figures as a person reads them."""

from collections.abc import Callable, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

MARKS = {"good": "✓", "bad": "✗", "fact": "•"}
"""What stands before a finding of a verdict."""

ANSWERS = (
    ("rows with all labels right", "exact_match"),
    ("AUC", "auc"),
    ("average precision", "average_precision"),
    ("F1, micro", "f1_micro"),
    ("F1, macro", "f1_macro"),
    ("calibration error (ECE)", "ece"),
    ("Brier score", "brier"),
    ("root mean squared error", "rmse"),
    ("mean absolute error", "mae"),
    ("R²", "r2"),
    ("CRPS", "crps"),
    ("Poisson deviance", "poisson_deviance"),
    ("rows in the central 50 % interval", "coverage_50"),
    ("its mean width", "width_50"),
    ("rows in the central 90 % interval", "coverage_90"),
    ("its mean width ", "width_90"),
)
"""Of the whole mixture alone, by key."""


def figures_table(figures: dict[str, Any]) -> Table:
    """The whole mixture beside its best expert alone, then what the gate does."""
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("")
    table.add_column("mixture", justify="right")
    table.add_column("top-1 expert", justify="right")
    if "accuracy" in figures:
        table.add_row("accuracy", f"{figures['accuracy']:.4f}", f"{figures['accuracy_top1']:.4f}")
    table.add_row("NLL, nats an example", f"{figures['nll']:.4f}", f"{figures['nll_top1']:.4f}")
    for name, key in ANSWERS:
        if key in figures:
            table.add_row(name, f"{figures[key]:.4f}", "")
    experts = figures["experts_used"] + figures["dead_experts"]
    table.add_section()
    table.add_row("experts used", f"{figures['experts_used']} of {experts}", "")
    table.add_row("effective experts", f"{figures['effective_experts']:.2f}", "")
    table.add_row("gate entropy H(z|x), nats", f"{figures['gate_entropy']:.3f}", "")
    table.add_row("what the gate tells, I(z;x), nats", f"{figures['mutual_information']:.3f}", "")
    table.add_row("bound gap, nats", f"{figures['bound_gap']:.4f}", "")
    return table


def said_of_constant(figures: dict[str, Any]) -> str:
    """A sentence on the best answer that does not look at the row; empty where nobody knows."""
    if "constant_rmse" in figures:
        return (
            f"Always answering the mean of the rows trained on has an RMSE of {figures['constant_rmse']:.4g}; their "
            f"median has an MAE of {figures['constant_mae']:.4g}."
        )
    if "constant_accuracy" not in figures:
        return ""
    nll = f"an NLL of {figures['constant_nll']:.4f} and " if "constant_nll" in figures else ""
    return (
        f"Always answering the frequencies in the rows trained on has {nll}an accuracy of "
        f"{figures['constant_accuracy']:.4f}."
    )


SEEN = 0.02
"""The share of rows from which on it is said that they were trained on: a few are equal by chance."""


def said_of_seen(seen: int | None, rows: int) -> str:
    """A warning where more than a few rows were trained on, else empty."""
    if not seen or seen < SEEN * rows:
        return ""
    return (
        f"{seen} of these {rows} rows equal rows that were trained on: of such the figures say nothing about new rows."
    )


MOST_ROWS = 30
"""Classes, or labels, that a table shows; --json and summary.json have them all."""


def classes_table(classes: list[dict[str, Any]] | None) -> Table | None:
    """Each class: how many rows have it, and how well it is told; None where there are none."""
    headings = {"recall": "recall", "precision": "precision", "F1": "f1", "AUC": "auc"}
    return _each("class", "rows", classes, headings, lambda each: f"{each['rows']}")


def labels_table(labels: list[dict[str, Any]] | None) -> Table | None:
    """Each of several labels: the share of the rows that have it, and how well it is told; None without any."""
    headings = {"accuracy": "accuracy", "F1": "f1", "Brier": "brier", "AUC": "auc"}
    return _each("label", "rows that have it", labels, headings, lambda each: f"{100 * each['share']:.1f} %")


def _each(
    what: str,
    count: str,
    entries: list[dict[str, Any]] | None,
    headings: Mapping[str, str],
    counted: Callable[[dict[str, Any]], str],
) -> Table | None:
    if not entries:
        return None
    more = f"the first {MOST_ROWS} of {len(entries)}" if len(entries) > MOST_ROWS else None
    table = Table(show_edge=False, pad_edge=False, caption=more, caption_justify="left")
    table.add_column(what)
    for heading in (count, *headings):
        table.add_column(heading, justify="right")
    for entry in entries[:MOST_ROWS]:
        figures = (entry.get(key) for key in headings.values())
        told = ("" if figure is None else f"{figure:.4f}" for figure in figures)
        table.add_row(escape(entry["name"]), counted(entry), *told)
    return table


def coverage_table(selective: list[dict[str, Any]]) -> Table:
    """How right it is where the rows that it is least sure of are left out."""
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("rows kept", "accuracy", "--abstain-above, nats"):
        table.add_column(heading, justify="right")
    for row in selective:
        above = row["abstain_above"]
        table.add_row(f"{100 * row['kept']:.1f} %", f"{row['accuracy']:.4f}", "" if above is None else f"{above:.4g}")
    return table
