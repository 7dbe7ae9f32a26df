"""The page: verdict, warnings, and the sections in their order."""

from collections.abc import Callable, Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from gatewise.reporting.blocks import Section
from gatewise.reporting.curves import History
from gatewise.reporting.schema import Summary, parse_history, parse_summary
from gatewise.reporting.sections import experts, learning, mistakes, repeat, results
from gatewise.reporting.verdict import verdict

SECTIONS: Sequence[Callable[[Summary, History], Section]] = (results, learning, experts, mistakes, repeat)

ENVIRONMENT = Environment(
    loader=PackageLoader("gatewise.reporting", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(summary: dict, history: list[dict]) -> str:
    """The report as HTML, from the contents of summary.json and the objects of metrics.jsonl.

    Raises:
        GatewiseError: for contents that do not fit.
    """
    return page(parse_summary(summary, "summary"), parse_history(history, "history"))


def page(summary: Summary, history: History) -> str:
    """The report as HTML, from contents that were checked."""
    return ENVIRONMENT.get_template("run.html.jinja").render(
        summary=summary,
        findings=verdict(summary),
        sections=[section(summary, history) for section in SECTIONS],
    )
