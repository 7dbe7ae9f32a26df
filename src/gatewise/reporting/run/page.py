"""The page: verdict, warnings, and the sections in their order."""

from dataclasses import dataclass, field
from typing import Any

from gatewise.reporting.audit.section import Audit, audited
from gatewise.reporting.audit.sections import Audits, along
from gatewise.reporting.html.blocks import Section
from gatewise.reporting.html.templates import ENVIRONMENT
from gatewise.reporting.plots.learning_curves import History
from gatewise.reporting.run.expert_profiles import typical_section
from gatewise.reporting.run.sections import experts, learning, mistakes, repeat, results
from gatewise.reporting.run.verdict import verdict
from gatewise.reporting.schemas.run import Summary, parse_history, parse_summary


@dataclass(frozen=True)
class Beside:
    """What a run folder may hold beside summary.json and metrics.jsonl.

    Attributes:
        audits: the objects of audits.jsonl.
        audit: the contents of audit.json.
        environment: the contents of environment.json.
    """

    audits: Audits = ()
    audit: Audit | None = None
    environment: dict[str, Any] = field(default_factory=dict)


def render(summary: dict, history: list[dict], beside: Beside | None = None) -> str:
    """The report as HTML, from the contents of summary.json, the objects of metrics.jsonl, and what lies beside.

    Raises:
        GatewiseError: for a summary or a history that does not fit.
    """
    return page(parse_summary(summary, "summary"), parse_history(history, "history"), beside or Beside())


def page(summary: Summary, history: History, beside: Beside) -> str:
    """The report as HTML, from contents that were checked."""
    sections: list[Section] = [
        results(summary),
        learning(summary, history),
        experts(summary),
        *typical_section(summary),
        mistakes(summary),
        *([along(beside.audits)] if beside.audits else []),
        *([] if beside.audit is None else [audited(beside.audit)]),
        repeat(summary, beside.environment),
    ]
    return ENVIRONMENT.get_template("run.html.jinja").render(
        summary=summary,
        findings=verdict(summary),
        sections=sections,
    )
