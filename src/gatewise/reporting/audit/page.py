"""The page of an audit, and its table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatewise.auditing.verdict import verdict
from gatewise.files import write_text
from gatewise.reporting.audit.pictures import pictures
from gatewise.reporting.html.blocks import Command, Paragraph, Section, Table, TableRow
from gatewise.reporting.html.templates import ENVIRONMENT
from gatewise.wording import count, number, percent

Audit = Mapping[str, Any]

HEADER = ("", "S", "λ", "bias (95 %)", "scale", "cosine", "error", "by evaluations", "by time", "runs", "ms")


def render_audit(audit: Audit) -> str:
    """The page as HTML, from the contents of audit.json."""
    return ENVIRONMENT.get_template("audit.html.jinja").render(
        audit=audit, findings=verdict(audit), sections=_sections(audit)
    )


def write_audit(folder: Path, audit: Audit) -> Path:
    """Write `folder`/audit.html, whole or not at all.

    Raises:
        GatewiseError: if it cannot be written.
    """
    page = folder / "audit.html"
    write_text(page, render_audit(audit))
    return page


def _sections(audit: Audit) -> list[Section]:
    repeat = Section("How to repeat it", [Command(audit["command"])] if audit.get("command") else [])
    return [repeat, _pictures(audit), _table(audit), *_left_out(audit)]


def _pictures(audit: Audit) -> Section:
    return Section("Bias, variance and cost", pictures(audit))


def _table(audit: Audit) -> Section:
    level = "logits" if audit["level"] == "logits" else "gate's parameters"
    note = (
        f"Against the exact gradient g for the {level} ({count(audit['size'], 'number')}, "
        f"{count(audit['examples'], 'example')}, K = {audit['num_categories']}), by enumeration. Bias: ‖E ĝ − g‖/‖g‖. "
        "Scale: ⟨E ĝ, g⟩/‖g‖²; 1 is right, below 0 it points away. Cosine: of E ĝ and g. Error: E ‖ĝ − g‖²/‖g‖² of one "
        "estimate; by evaluations and by time: of the mean of as many as cost what one exact gradient costs. Runs: "
        "distinct evaluations an example. ms: forward and backward of one batch on this machine."
    )
    ordered = [audit["rows"][place] for place in audit.get("order", range(len(audit["rows"])))]
    rows = [TableRow(row["label"], _cells(row), _aside(row)) for row in ordered]
    how = "In order of the error by evaluations" if "order" in audit else "By rising mean squared error"
    if any(row["evaluations_at_most"] > audit["max_evaluations"] for row in ordered):
        how += f"; those that run more than {audit['max_evaluations']} come after"
    if not all(row.get("usable", True) for row in ordered):
        how += "; last those whose mean is no gradient to follow"
    return Section("All settings", [Paragraph(note), Table(how, HEADER, rows, wide=True)])


def _left_out(audit: Audit) -> list[Section]:
    if not audit["skipped"]:
        return []
    rows = [TableRow(refused["estimator"], [refused["reason"]]) for refused in audit["skipped"]]
    return [Section("Not audited", [Table("What could not be asked", ["estimator", "why"], rows, numeric=False)])]


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [
        str(row["num_samples"]),
        "" if row["temperature"] is None else f"{row['temperature']:g}",
        f"{percent(row['relative_bias'])} ({percent(row['relative_bias_low'])} – {percent(row['relative_bias_high'])})",
        number(1 + row["relative_scale"]),
        number(row["cosine"]),
        number(row["relative_mse"]),
        number(row["relative_mse_equal_evaluations"]),
        number(row["relative_mse_equal_time"]),
        number(row["evaluations"], 2),
        number(1e3 * row["seconds"], 2),
    ]


def _aside(row: Mapping[str, Any]) -> str:
    said = ["trained this run"] if row["own"] else []
    said += ["biased"] if row["biased"] else []
    said += [row["caution"]] if row.get("caution") else []
    said += ["no gradient to follow"] if not row.get("usable", True) else []
    return ", ".join([*said, f"{row['repetitions']:,} repetitions"])
