"""The section of a run's report on the audits along its training."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gatewise.auditing.verdict import verdict
from gatewise.reporting.audit.pictures import pictures
from gatewise.reporting.html.blocks import Findings, Link, Paragraph, Picture, Section
from gatewise.reporting.html.svg import FIRST, MUTED, SECOND, draw
from gatewise.wording import count, number, percent

if TYPE_CHECKING:  # half a second that only drawing needs
    from matplotlib.figure import Figure

Audit = Mapping[str, Any]

Audits = Sequence[Mapping[str, Any]]
"""The objects of audits.jsonl."""
EXACT = 1e-4
"""Of the gradient's length: what is less is rounding."""


def along(audits: Audits) -> Section:
    """How bias and spread of the estimator went as the gate and the temperature changed."""
    title = "The gradient along training"
    told = [line for line in audits if line["rows"]]
    if not told:
        reason = (audits[-1]["reason"] if audits else None) or "no audit was made"
        return Section(title, [Paragraph(f"There is nothing to draw: {reason}.")])
    silent = len(audits) - len(told)
    left_out = f" {count(silent, 'audit')} had no gradient to compare with." if silent else ""
    exact = all(max(row["relative_bias"], row["relative_std"]) < EXACT for line in told for row in line["rows"])
    if exact:
        label = told[-1]["rows"][0]["label"]
        return Section(title, [Paragraph(f"{label} gave the exact gradient in every audit.{left_out}")])
    return Section(title, [Paragraph(_summary(told) + left_out), _picture(told)])


def _summary(audits: Audits) -> str:
    first, last = audits[0]["rows"][0], audits[-1]["rows"][0]
    at = "" if last["temperature"] is None else f" at λ = {last['temperature']:.3g}"
    before = "" if first["temperature"] is None else f" at λ = {first['temperature']:.3g}"
    return (
        f"{last['label']} against the exact gradient of the Jensen bound for the gate's logits, in units of its "
        f"length: bias {percent(first['relative_bias'])} and spread {percent(first['relative_std'])} after epoch "
        f"{audits[0]['epoch']}{before}, {percent(last['relative_bias'])} and {percent(last['relative_std'])} after "
        f"epoch {audits[-1]['epoch']}{at}."
    )


def _picture(audits: Audits) -> Picture:
    epochs = np.array([line["epoch"] for line in audits])
    rows = [line["rows"][0] for line in audits]

    def column(name: str) -> np.ndarray:
        return np.array([row[name] for row in rows], dtype=float)

    bias, low, high, spread = (column(f"relative_{name}") for name in ("bias", "bias_low", "bias_high", "std"))

    def paint(figure: "Figure") -> None:
        axes = figure.subplots()
        axes.plot(epochs, bias, color=SECOND, marker="o", markersize=3, label="bias")
        axes.fill_between(epochs, low, high, color=SECOND, alpha=0.2, linewidth=0)
        axes.plot(epochs, spread, color=FIRST, marker="o", markersize=3, label="spread of one estimate")
        if rows[0]["temperature"] is not None:
            temperatures = column("temperature")
            axes.plot(epochs, temperatures, color=MUTED, linestyle=":", label="λ")
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set(xlabel="epoch", ylabel="times the gradient's length")
        axes.locator_params("x", nbins=6, integer=True)
        figure.legend(loc="outside upper left", ncols=3)

    label = (
        f"Bias from {number(bias[0])} to {number(bias[-1])} and spread from {number(spread[0])} to "
        f"{number(spread[-1])} of the gradient's length over {count(len(rows), 'audit')}."
    )
    caption = (
        "Bias: the distance of the mean estimate from the exact gradient, with its 95 % interval; it does not average "
        "out. Spread: the standard deviation of one estimate; it does."
    )
    return Picture(draw("audit-along", label, 420, 280, paint), "Bias and spread", caption)


def audited(audit: Audit) -> Section:
    """What the audit says, the best setting of each estimator, and the way to its page."""
    notes = " ".join(f"{note[:1].upper()}{note[1:].rstrip('.')}." for note in audit["notes"])
    told = f"Of {audit['name']}, in {count(len(audit['rows']), 'setting')}. {notes}".rstrip()
    link = Link("All settings: audit.html", "audit.html")
    drawn = pictures({**audit, "rows": _best(audit["rows"])})
    return Section("Audit of the gradient estimators", [Paragraph(told, link), Findings(verdict(audit)), *drawn[:2]])


def _best(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of each estimator the setting with the least error, and this run's own."""
    best: dict[str, Mapping[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["relative_mse"]):
        best.setdefault(row["label"], row)
    return [row for row in rows if row["own"] or row is best[row["label"]]]
