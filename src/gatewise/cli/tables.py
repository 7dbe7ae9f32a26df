"""Figures as a person reads them."""

from collections.abc import Callable, Mapping
from typing import Any

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
    if figures.get("accuracy") is not None:
        table.add_row("accuracy", rounded(figures, "accuracy"), rounded(figures, "accuracy_top1"))
    table.add_row("NLL, nats an example", rounded(figures, "nll"), rounded(figures, "nll_top1"))
    for name, key in ANSWERS:
        if figures.get(key) is not None:
            table.add_row(name, rounded(figures, key), "")
    used, dead = figures.get("experts_used"), figures.get("dead_experts")
    table.add_section()
    table.add_row("experts used", NONE if used is None or dead is None else f"{used:.0f} of {used + dead:.0f}", "")
    table.add_row("effective experts", rounded(figures, "effective_experts", 2), "")
    table.add_row("gate entropy H(z|x), nats", rounded(figures, "gate_entropy", 3), "")
    table.add_row("what the gate tells, I(z;x), nats", rounded(figures, "mutual_information", 3), "")
    table.add_row("bound gap, nats", rounded(figures, "bound_gap"), "")
    return table


NONE = "–"


def rounded(figures: Mapping[str, Any], key: str, digits: int = 4) -> str:
    """A figure, which the summary of a run from elsewhere may lack."""
    value = figures.get(key)
    return NONE if value is None else f"{value:.{digits}f}"


def said_of_constant(figures: dict[str, Any]) -> str:
    """A sentence on the best answer that does not look at the row; empty where nobody knows."""
    keys = ("constant_nll", "constant_accuracy", "constant_rmse", "constant_mae")
    nll, accuracy, rmse, mae = (figures.get(key) for key in keys)
    if rmse is not None and mae is not None:
        return (
            f"Always answering the mean of the rows trained on has an RMSE of {rmse:.4g}; their "
            f"median has an MAE of {mae:.4g}."
        )
    if accuracy is None:
        return ""
    nll = "" if nll is None else f"an NLL of {nll:.4f} and "
    return f"Always answering the frequencies in the rows trained on has {nll}an accuracy of {accuracy:.4f}."


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
    return _each("label", "rows that have it", labels, headings, _share)


def _share(label: Mapping[str, Any]) -> str:
    return NONE if label["share"] is None else f"{100 * label['share']:.1f} %"


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
        table.add_row(entry["name"], counted(entry), *told)
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
