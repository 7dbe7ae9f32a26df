"""`gatewise report`."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from gatewise.errors import GatewiseError
from gatewise.reporting import write_report
from gatewise.reporting.side_by_side import write_runs


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN…", help="Run folders made by gatewise train.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="For several runs: the page to write. Default: compared.html."),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
) -> None:
    """Write RUN/report.html anew from the files of the run folder, or one page that compares several runs.

    Example: gatewise report runs/digits-1 runs/digits-2 -o compared.html --open
    """
    if len(runs) > 1:
        page = write_runs(runs, output or Path("compared.html"))
    elif output is not None:
        raise GatewiseError("--output is for several runs; the page of one run is its report.html")
    else:
        page = write_report(runs[0])
    typer.echo(page)
    if open_ and not webbrowser.open(page.resolve().as_uri()):
        typer.echo(f"there is no browser to show it; open {page} in one", err=True)
