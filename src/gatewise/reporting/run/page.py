"""The page: verdict, warnings, and the sections in their order."""

from pathlib import Path

from gatewise.files import as_path, write_text
from gatewise.reporting.audit.sections import along, audited
from gatewise.reporting.html.blocks import Section
from gatewise.reporting.html.templates import ENVIRONMENT
from gatewise.reporting.plots.learning_curves import History
from gatewise.reporting.reading import Beside, read_beside, read_run
from gatewise.reporting.run.expert_profiles import typical_section
from gatewise.reporting.run.sections import experts, learning, mistakes, repeat, results
from gatewise.reporting.run.verdict import verdict
from gatewise.reporting.schemas.run import Summary, parse_history, parse_summary


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


def write_report(run: Path) -> Path:
    """Write `run`/report.html from the files of the run folder, whole or not at all.

    Raises:
        GatewiseError: for a file that is missing, malformed, or cannot be written.
    """
    run = as_path(run, "run")
    summary, history = read_run(run)
    report = run / "report.html"
    write_text(report, page(summary, history, read_beside(run)))
    return report
