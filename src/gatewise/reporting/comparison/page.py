"""The page of a comparison, and its file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatewise.files import write_text
from gatewise.reporting.comparison.sections import cells, learning, repeat, results
from gatewise.reporting.comparison.verdict import doubts, verdict
from gatewise.reporting.html.templates import ENVIRONMENT
from gatewise.reporting.plots.learning_curves import History
from gatewise.reporting.reading import read_history, read_object
from gatewise.reporting.schemas.comparison import ComparisonSchema, parse_comparison


def render_comparison(comparison: dict[str, Any], histories: Mapping[str, History]) -> str:
    """The page as HTML.

    Args:
        comparison: the contents of comparison.json.
        histories: the objects of metrics.jsonl, by the cell's folder as comparison.json names it.

    Raises:
        GatewiseError: for contents that do not fit.
    """
    return _page(parse_comparison(comparison, "comparison"), histories)


def write_comparison(folder: Path) -> Path:
    """Write `folder`/comparison.html from comparison.json and the cells' metrics.jsonl, whole or not at all.

    Raises:
        GatewiseError: for a file that is missing, malformed, or cannot be written.
    """
    path = folder / "comparison.json"
    comparison = parse_comparison(read_object(path), str(path))
    done = [cell.folder for cell in comparison.cells if cell.status == "done"]
    histories = {name: read_history(folder / name / "metrics.jsonl") for name in done}
    page = folder / "comparison.html"
    write_text(page, _page(comparison, histories))
    return page


def _page(comparison: ComparisonSchema, histories: Mapping[str, History]) -> str:
    return ENVIRONMENT.get_template("comparison.html.jinja").render(
        comparison=comparison,
        findings=verdict(comparison),
        doubts=doubts(comparison),
        sections=[repeat(comparison), results(comparison), learning(comparison, histories), cells(comparison)],
    )
