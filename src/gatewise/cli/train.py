"""`gatewise train`."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gatewise.cli.console import console
from gatewise.cli.options import Json
from gatewise.cli.progress import watcher
from gatewise.cli.settings import gather, parse_setting, take_folder
from gatewise.cli.stopping import stop
from gatewise.cli.streams import OutputLost, say
from gatewise.cli.tables import (
    classes_table,
    figures_table,
    labels_table,
    rounded,
    said_of_constant,
    said_of_seen,
)
from gatewise.config import load_config
from gatewise.data.target_columns import joined
from gatewise.distributed import end_with_launcher, is_leader, launched
from gatewise.errors import GatewiseError
from gatewise.reporting.schemas.run import parse_summary
from gatewise.runs import Run
from gatewise.runs import resume as resume_run
from gatewise.runs import train as train_run
from gatewise.runs.environment import cores
from gatewise.training import Callback
from gatewise.wording import listing, shown


def train(
    context: typer.Context,
    data: Annotated[
        str | None,
        typer.Argument(
            help="digits, wine, breast_cancer, iris or teacher; a .csv, .tsv, .parquet or .npz file; a folder of "
            "Parquet files; or one of folders of images, one a class.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="The column to predict, or labels A,B,C.",
            show_default=False,
        ),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(metavar="HEAD", help="categorical, gaussian, student-t, poisson or bernoulli; else guessed."),
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="FOLDER", help="The run folder; default runs/NAME-1, …")
    ] = None,
    class_weight: Annotated[
        list[str] | None,
        typer.Option(metavar="WEIGHT", help="balanced, or CLASS=WEIGHT, repeated."),
    ] = None,
    test: Annotated[str | None, typer.Option(metavar="FILE", help="Test rows; default: 20 % of the rows.")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with this run's training.")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="A TOML file with any key; flags win.")] = None,
    objective: Annotated[str | None, typer.Option(metavar="NAME", help="Listed by gatewise config objective.")] = None,
    estimator: Annotated[str | None, typer.Option(metavar="NAME", help="Listed by gatewise estimators.")] = None,
    samples: Annotated[int | None, typer.Option(metavar="N", help="Draws per example.")] = None,
    temperature: Annotated[str | None, typer.Option(metavar="λ", help="λ: a number, or such as linear:1:0.3.")] = None,
    regulariser: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=W", help="Replaces the default ones; repeat, or none."),
    ] = None,
    experts: Annotated[int | None, typer.Option(metavar="N", help="How many experts.")] = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Passes over the training rows, at most.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Fixes split, weights, noise and order.")] = None,
    audit_every: Annotated[
        int | None, typer.Option(metavar="N", help="Audit its gradient every so many epochs.")
    ] = None,
    device: Annotated[str | None, typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.")] = None,
    processes: Annotated[int | None, typer.Option(metavar="N", min=1, help="On this machine, by torchrun.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any key of gatewise config; repeat."),
    ] = None,
    json_: Json = False,
) -> int:
    """Train a mixture of experts on DATA and write a run folder.

    Example: gatewise train adult.csv --target income --out runs/adult
    """
    several = 1 if processes is None or launched() else processes
    end_with_launcher()
    flags = {
        "data": data,
        "target": target,
        "class_weight": class_weight or None,
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
    if resume is not None:
        others = flags | {"config": config}
        if given := [name for name, value in others.items() if value is not None]:
            raise GatewiseError(f"--resume goes on with what the run was begun with; leave {given[0]} out")
        changed = dict(map(parse_setting, settings or []))
        if several > 1:
            return launch(context.obj, several)
        stop.notes = launched()
        return finish(resume_run(resume, settings=changed, callbacks=watchers(), should_stop=stop), json_)
    keys, where = gather(config, settings, flags)
    out = take_folder(keys, where)
    if "data" not in keys:
        raise GatewiseError("train needs DATA: a bundled name such as digits, or a file; see gatewise train --help")
    checked = load_config(keys, where)
    if several > 1:
        return launch(context.obj, several)
    words = shlex.join(["gatewise", *context.obj])
    stop.notes = launched()  # each of several processes goes on until all know
    return finish(train_run(checked, out, callbacks=watchers(), should_stop=stop, command=words), json_)


def launch(words: Sequence[str], processes: int) -> int:
    """Run the command by so many processes, which share the machine's cores; returns the exit status."""
    from gatewise.distributed.launch import launch  # torchrun takes a while to import, and most trainings do without

    try:
        return launch(words, processes, max(1, cores() // processes))
    finally:
        stop.listen()  # torchrun has heard signals meanwhile


def watchers() -> list[Callback]:
    """What shows the progress, where this is the process that does."""
    return [watcher(console(stderr=True)), Begun()] if is_leader() else []


class Begun(Callback):
    """From its first step on a training that is asked to stop has something to finish."""

    def on_start(self, epochs: int, steps_per_epoch: int) -> None:
        """Before the first step."""
        stop.notes = True


def finish(run: Run, json_: bool) -> int:
    """Print what came of a training; returns the exit status.

    One that was asked to stop when its last step was taken is finished, and has nothing to go on with.
    """
    folder, interrupted = run.folder, run.summary["interrupted"]
    if is_leader():
        try:
            if json_:
                print(json.dumps({"run": str(folder), **run.summary}), flush=True)
            else:
                show(parse_summary(run.summary, str(folder / "summary.json")).model_dump(), folder)
        except OutputLost as lost:
            if json_ and not lost.unread:
                raise
            if not lost.unread:
                say(f"gatewise: {lost}; the training is in {folder}")
        if interrupted:  # another process of the training may have been asked
            console(stderr=True).print(
                f"stopped early; the best model so far is in {folder}; go on with: "
                f"gatewise train --resume {shlex.quote(str(folder))}",
                soft_wrap=True,
            )
    return stop.status if interrupted and stop() else 0


def show(summary: dict[str, Any], folder: Path) -> None:
    """Print what came of it, and where it is."""
    screen = console()
    rows = summary["data"]
    part = "test" if summary["test"] else "validation"
    screen.print(
        f"Trained {summary['model']['experts']} experts on {rows['train_rows']} rows of {rows['name']} in "
        f"{summary['epochs']} {'epoch' if summary['epochs'] == 1 else 'epochs'} (best: {summary['best_epoch']}), "
        f"{rounded(summary, 'seconds', 0)} s.",
        soft_wrap=True,
    )
    for told in (rows["used"], *rows["readings"], rows["left_out"], rows["rare"], rows["guessed"]):
        if told:
            screen.print(told, soft_wrap=True)
    if rows["labels"]:
        screen.print(said_of_labels(rows["labels"]), soft_wrap=True)
    if summary["class_weights"]:
        screen.print(said_of_weights(summary["class_weights"]), soft_wrap=True)
    screen.print(f"\n{part.capitalize()}, {rows[part + '_rows']} rows\n")
    screen.print(figures_table(summary[part]))
    for told in (
        said_of_constant(summary[part]),
        said_of_seen(rows["test_rows_seen"] if part == "test" else None, rows[part + "_rows"]),
        said_of_telling(rows["telling"]),
    ):
        if told:
            screen.print(f"\n{told}", soft_wrap=True)
    for each in (classes_table(summary[part].get("classes")), labels_table(summary[part].get("labels"))):
        if each is not None:
            screen.print()
            screen.print(each)
    screen.print(f"\nreport  {folder / 'report.html'}\nmodel   {folder / 'model'}", soft_wrap=True)


def said_of_telling(columns: list[str]) -> str:
    """A warning about columns that give the answer away, else empty."""
    if not columns:
        return ""
    each = "the column alone tells" if len(columns) == 1 else "each of these columns alone tells"
    return (
        f"{listing(columns)}: {each} the target of nearly every row. If that is known only with the answer, leave it "
        "out: "
        f"--set drop={joined(columns)}"
    )


def said_of_labels(labels: list[dict[str, Any]], limit: int = 10) -> str:
    """A sentence on the value of each label that counts as 1."""
    said = ", ".join(f"{shown(label['name'])} {shown(label['values'][1])}" for label in labels[:limit])
    more = f", … ({len(labels)} in all)" if len(labels) > limit else ""
    return f"Labels, each with the value that counts as 1: {said}{more}."


def said_of_weights(weights: dict[str, float], limit: int = 5) -> str:
    """A sentence on the weights of the classes, the largest first."""
    largest = sorted(weights.items(), key=lambda each: -each[1])
    said = ", ".join(f"{shown(name)} {weight:.3g}" for name, weight in largest[:limit])
    more = ", ..." if len(largest) > limit else ""
    return f"A row's weight in training, by class: {said}{more}. The figures below count every row the same."
