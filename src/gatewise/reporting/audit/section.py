"""The section of a run's report on the audit of its estimators."""

from collections.abc import Mapping, Sequence
from typing import Any

from gatewise.auditing.verdict import verdict
from gatewise.reporting.audit.pictures import pictures
from gatewise.reporting.html.blocks import Findings, Link, Paragraph, Section
from gatewise.wording import count

Audit = Mapping[str, Any]


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
