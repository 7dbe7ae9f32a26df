"""`gatewise train`."""

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from gatewise import objectives
from gatewise.cli.console import console
from gatewise.cli.options import Json
from gatewise.cli.progress import watcher
from gatewise.cli.settings import gather, take_folder
from gatewise.cli.stopping import stopping
from gatewise.cli.tables import figures_table
from gatewise.errors import GatewiseError
from gatewise.training import load_config
from gatewise.training import train as train_run


def train(
    context: typer.Context,
    data: Annotated[
        str | None,
        typer.Argument(
            help="A bundled name (digits, wine, breast_cancer, iris, teacher), a .csv, .parquet or .npz file, "
            "or a folder of Parquet files.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict.", show_default=False)] = None,
    head: Annotated[
        str | None,
        typer.Option(help="What the target is: categorical, gaussian, student-t or poisson; default: guessed from it."),
    ] = None,
    out: Annotated[str | None, typer.Option(help="The run folder to make; default runs/NAME-1, -2, …")] = None,
    test: Annotated[str | None, typer.Option(help="A file of test rows; default: 20 % of the rows.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with any key; flags win over it.")] = None,
    objective: Annotated[str | None, typer.Option(help=f"What is maximised: {', '.join(objectives.names())}.")] = None,
    estimator: Annotated[str | None, typer.Option(help="The gradient estimator; see gatewise estimators.")] = None,
    samples: Annotated[int | None, typer.Option(help="Draws per example.")] = None,
    temperature: Annotated[
        str | None, typer.Option(help="λ: a number, linear:1:0.3, cosine:1:0.3 or exponential:1:0.3.")
    ] = None,
    regulariser: Annotated[
        list[str] | None,
        typer.Option(
            help=f"NAME=WEIGHT, such as load=0.3 ({', '.join(objectives.REGULARISERS)}); repeat for more; none for "
            "none. They replace the default, importance=0.3 and load=0.3."
        ),
    ] = None,
    experts: Annotated[int | None, typer.Option(help="How many experts.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training rows, at most.")] = None,
    seed: Annotated[int | None, typer.Option(help="Fixes split, weights, noise and order.")] = None,
    audit_every: Annotated[
        int | None, typer.Option(help="Audit the estimator's gradient every so many epochs; see gatewise audit.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any key of config.toml in a run folder; repeat."),
    ] = None,
    json_: Json = False,
) -> int:
    """Train a mixture of experts on DATA and write a run folder.

    Example: gatewise train adult.csv --target income --out runs/adult
    """
    flags = {
        "data": data,
        "target": target,
        "head": head,
        "test": test,
        "objective": objective,
        "estimator": estimator,
        "samples": samples,
        "temperature": temperature,
        "regulariser": regulariser or None,
        "experts": experts,
        "epochs": epochs,
        "seed": seed,
        "audit_every": audit_every,
        "device": device,
        "out": out,
    }
    keys, where = gather(config, settings, flags)
    out = take_folder(keys, where)
    if "data" not in keys:
        raise GatewiseError("train needs DATA: a bundled name such as digits, or a file; see gatewise train --help")
    checked = load_config(keys, where)
    screen = console(stderr=True)
    with stopping() as stop:
        words = shlex.join(["gatewise", *context.obj])
        run = train_run(checked, out, callbacks=[watcher(screen)], should_stop=stop, command=words)
    folder = run.folder
    if json_:
        print(json.dumps({"run": str(folder), **run.summary}))
    else:
        show(run.summary, folder)
    if stop():
        screen.print(f"stopped early; the best model so far is in {folder}")
        return stop.status
    return 0


def show(summary: dict[str, Any], folder: Path) -> None:
    """Print what came of it, and where it is."""
    screen = console()
    rows = summary["data"]
    part = "test" if summary["test"] else "validation"
    screen.print(
        f"Trained {summary['model']['experts']} experts on {rows['train_rows']} rows of {rows['name']} in "
        f"{summary['epochs']} {'epoch' if summary['epochs'] == 1 else 'epochs'} (best: {summary['best_epoch']}), "
        f"{summary['seconds']:.0f} s.",
        soft_wrap=True,
    )
    for told in (summary["data"]["used"], summary["data"]["guessed"]):
        if told:
            screen.print(told, soft_wrap=True)
    screen.print(f"\n{part.capitalize()}, {rows[part + '_rows']} rows\n")
    screen.print(figures_table(summary[part]))
    screen.print(f"\nreport  {folder / 'report.html'}\nmodel   {folder / 'model'}", soft_wrap=True)
