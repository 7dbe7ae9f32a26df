"""`gatewise compare`."""

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from gatewise import objectives as known_objectives
from gatewise.cli.cells import Cells, comparison_table, legend
from gatewise.cli.console import console
from gatewise.cli.options import Json
from gatewise.cli.settings import gather, take_folder, take_names, take_number
from gatewise.cli.stopping import stop
from gatewise.cli.tables import MARKS
from gatewise.comparison import Comparison, default_folder
from gatewise.comparison import compare as compare_runs
from gatewise.config import RunConfig, load_config
from gatewise.errors import GatewiseError
from gatewise.reporting.comparison import doubts, parse_comparison, verdict
from gatewise.runs.environment import cores


def compare(
    context: typer.Context,
    data: Annotated[
        str | None, typer.Argument(help="A bundled name or a file, as gatewise train takes it.", show_default=False)
    ] = None,
    estimators: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="Gradient estimators, options after colons: gumbel-softmax:temperature=0.5. "
            "Default: enumeration,score-function,gumbel-softmax.",
        ),
    ] = None,
    objectives: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…", help=f"What is maximised: {', '.join(known_objectives.names())}. Default: jensen."
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="How many, from the seed on. Default: 3.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Trainings at a time. Default: one a core.")] = None,
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="The folder to make, or to go on in. Default: runs/compare-NAME.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict.", show_default=False)] = None,
    test: Annotated[str | None, typer.Option(help="A file of test rows; default: 20 % of the rows.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with any key; flags win over it.")] = None,
    experts: Annotated[int | None, typer.Option(help="How many experts.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training rows, at most.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any key of config.toml in a run folder; repeat."),
    ] = None,
    json_: Json = False,
) -> int:
    """Train each objective with each estimator over several seeds on the same DATA, and compare them.

    What is finished is not trained again: the same command goes on where it was stopped. Exit status 1: a cell failed.

    Example: gatewise compare digits --estimators enumeration,score-function,reinmax --seeds 5 --out runs/which
    """
    flags = {"data": data, "target": target, "test": test, "experts": experts, "epochs": epochs, "device": device}
    flags |= {"estimators": estimators, "objectives": objectives, "seeds": seeds, "jobs": jobs, "out": out}
    keys, where = gather(config, settings, flags)
    folder = take_folder(keys, where)
    chosen = take_names(keys, where, "estimators"), take_names(keys, where, "objectives") or ["jensen"]
    counts = take_number(keys, where, "seeds") or 3, take_number(keys, where, "jobs")
    if "data" not in keys:
        raise GatewiseError("compare needs DATA: a bundled name such as digits, or a file; see gatewise compare --help")
    words = shlex.join(["gatewise", *context.obj])
    return run(load_config(keys, where), folder, chosen, counts, words, json_)


def run(
    base: RunConfig,
    out: str | None,
    chosen: tuple[list[str] | None, list[str]],
    counts: tuple[int, int | None],
    command: str,
    as_json: bool,
) -> int:
    """Compare, print what came of it, and return the exit status."""
    screen, folder = console(stderr=True), Path(out or default_folder(base.data))
    (estimators, objectives), (seeds, jobs) = chosen, counts
    at_most = max(1, cores() // (base.threads or 1))
    watcher = Cells(screen, min(jobs or at_most, at_most), folder)
    if jobs and jobs > at_most:
        watcher.say(f"{at_most} at a time, not {jobs}: there are {cores()} cores")
    try:
        found = compare_runs(
            base, folder, estimators=estimators, objectives=objectives, seeds=seeds, jobs=watcher.jobs,
            watcher=watcher, command=command,
        )  # fmt: skip
    except BaseException:
        if not stop():  # which becomes errors of other kinds on its way through the workers
            raise
        watcher.stopped()
        return stop.status
    finally:
        watcher.close()
    if as_json:
        print(json.dumps({"folder": str(found.folder), **found.summary}))
    else:
        show(found)
    return 1 if found.failed else 0


def show(found: Comparison) -> None:
    """Print the table, the verdict, and where the page is."""
    screen = console()
    comparison = parse_comparison(found.summary, "the comparison")
    screen.print()
    if comparison.finished:
        screen.print(comparison_table(comparison))
        screen.print(f"\n{legend(comparison)}\n", soft_wrap=not screen.is_terminal)
    for finding in verdict(comparison)[1:]:
        screen.print(f"{MARKS[finding.level]} {finding.text}", soft_wrap=not screen.is_terminal)
    for doubt in doubts(comparison):
        screen.print(f"! {doubt}", style="yellow", soft_wrap=not screen.is_terminal)
    screen.print(f"\npage   {found.folder / 'comparison.html'}\ncells  {found.folder / 'cells'}", soft_wrap=True)
