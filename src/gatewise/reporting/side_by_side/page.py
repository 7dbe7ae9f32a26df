"""The page of runs side by side, and its file."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from gatewise.errors import GatewiseError
from gatewise.files import as_path, check_output, write_text
from gatewise.reporting.html.templates import ENVIRONMENT
from gatewise.reporting.reading import read_run
from gatewise.reporting.side_by_side.sections import learning, repeat, results, settings, warnings
from gatewise.reporting.side_by_side.table import Compared, Trained
from gatewise.reporting.side_by_side.verdict import doubts, verdict
from gatewise.wording import printable

PAGES = ("report", "audit")
"""Pages that a run has of its own."""
MOST = 32
"""More runs cannot be told apart in one picture."""


def render_runs(compared: Compared) -> str:
    """The page as HTML."""
    return ENVIRONMENT.get_template("side_by_side.html.jinja").render(
        compared=compared,
        findings=verdict(compared),
        doubts=doubts(compared),
        sections=[section(compared) for section in (results, settings, learning, warnings, repeat)],
    )


def write_runs(folders: Sequence[Path], page: Path) -> Path:
    """Write one page on finished runs side by side, whole or not at all.

    Raises:
        GatewiseError: for fewer than 2 runs or too many, the same one twice, one that is not finished or has a
            malformed file, or a page that cannot be written.
    """
    page, folders = as_path(page, "page"), [as_path(folder, "each of folders") for folder in folders]
    if not 2 <= len(folders) <= MOST:
        raise GatewiseError(f"a page shows from 2 to {MOST} runs side by side, got {len(folders)}; give other runs")
    for folder in folders:
        # an earlier page of ours, in whatever folder, is written anew
        check_output(page, (path for path in folder.rglob("*") if path.suffix != ".html" or path.stem in PAGES))
    real = [folder.resolve() for folder in folders]
    for place, folder in enumerate(real):
        if folder in real[:place]:
            raise GatewiseError(f"{folders[place]} is given twice; give each run once")
    runs = [
        Trained(name, _link(folder, page), *read_run(folder))
        for name, folder in zip(_names(folders), folders, strict=True)
    ]
    write_text(page, render_runs(Compared(runs)))
    return page


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names where these tell them apart, else their paths."""
    names = [folder.resolve().name for folder in folders]
    return [printable(name) for name in (names if len(set(names)) == len(names) else map(str, folders))]


def _link(folder: Path, page: Path) -> str:
    """The way from the page to a run's own report."""
    return quote(os.path.relpath((folder / "report.html").resolve(), page.resolve().parent).replace(os.sep, "/"))
