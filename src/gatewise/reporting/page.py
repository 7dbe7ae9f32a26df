"""The page: verdict, warnings, and the sections in their order."""

from collections.abc import Callable, Sequence

from gatewise.reporting.audit.along import Audits, along
from gatewise.reporting.blocks import Section
from gatewise.reporting.curves import History
from gatewise.reporting.schema import Summary, parse_history, parse_summary
from gatewise.reporting.sections import experts, learning, mistakes, repeat, results
from gatewise.reporting.templates import ENVIRONMENT
from gatewise.reporting.verdict import verdict

SECTIONS: Sequence[Callable[[Summary, History], Section]] = (results, learning, experts, mistakes, repeat)


def render(summary: dict, history: list[dict], audits: Audits = ()) -> str:
    """The report as HTML, from the contents of summary.json and the objects of metrics.jsonl and audits.jsonl.

    Raises:
        GatewiseError: for contents that do not fit.
    """
    return page(parse_summary(summary, "summary"), parse_history(history, "history"), audits)


def page(summary: Summary, history: History, audits: Audits = ()) -> str:
    """The report as HTML, from contents that were checked."""
    sections = [section(summary, history) for section in SECTIONS]
    if audits:
        sections.insert(2, along(audits))
    return ENVIRONMENT.get_template("run.html.jinja").render(
        summary=summary,
        findings=verdict(summary),
        sections=sections,
    )
