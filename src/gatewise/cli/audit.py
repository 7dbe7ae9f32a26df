"""`gatewise audit`."""

import itertools
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from gatewise.auditing.text import HEADER, cells, legend, order_line, shown
from gatewise.auditing.verdict import verdict
from gatewise.cli.console import console
from gatewise.cli.options import Json
from gatewise.cli.settings import gather, take_folder, take_names, take_number
from gatewise.cli.stopping import stop
from gatewise.cli.tables import MARKS
from gatewise.config import load_config
from gatewise.config.loading import parse_estimator
from gatewise.errors import GatewiseError
from gatewise.files import named_after
from gatewise.runs import Run
from gatewise.runs.audit import audit_data, audit_run, make_audit_folder, write_files
from gatewise.wording import count


def audit(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN|DATA", help="A run folder, or data as gatewise train takes it.", show_default=False
        ),
    ] = None,
    data: Annotated[str | None, typer.Option(help="For a RUN: a file of rows; default: its training rows.")] = None,
    estimators: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="Options after colons: reinmax:temperature=1.1. Default: all.")
    ] = None,
    samples: Annotated[str | None, typer.Option(metavar="1,2,…", help="Numbers of samples. Default: 1,2,4.")] = None,
    temperatures: Annotated[
        str | None, typer.Option(metavar="1,0.5,…", help="Values of λ to try. Default: 1,0.5,0.1.")
    ] = None,
    max_evaluations: Annotated[
        int | None, typer.Option(help="Recommend what runs at most so many experts an example. Default: all.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="About how long it may take. Default: 30.")] = None,
    level: Annotated[
        str | None,
        typer.Option(help="logits, or parameters: the gate's own, where rows average as in training. Default: logits."),
    ] = None,
    rows: Annotated[int | None, typer.Option(help="Examples, drawn at random. Default: 512.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of rows and noise. Default: 0.")] = None,
    target: Annotated[str | None, typer.Option(help="For DATA: the column to predict.", show_default=False)] = None,
    experts: Annotated[int | None, typer.Option(help="For DATA: how many experts.")] = None,
    config: Annotated[Path | None, typer.Option(help="For DATA: a TOML file, as for train; flags win over it.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="For DATA: any key of config.toml; repeat.")
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder of audit.json and audit.html, replaced where they exist. Default: RUN or audits/NAME-1, …",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", show_default=True)] = "auto",
    json_: Json = False,
) -> int:
    """Measure how far every gradient estimator is from the exact gradient, on a trained RUN or on DATA before training.

    Example: gatewise audit runs/digits --max-evaluations 2
    """
    if source is None:
        raise GatewiseError("audit needs a run folder, or DATA such as digits; see gatewise audit --help")
    flags = {"rows": rows, "estimators": estimators, "temperatures": temperatures}
    flags |= {"max_evaluations": max_evaluations, "seconds": seconds, "level": level, "seed": seed, "out": out}
    model = {"target": target, "experts": experts}
    words = shlex.join(["gatewise", *context.obj])
    counts = _numbers({"samples": samples}, {"samples": "the command line"}, "samples", int)
    if any((Path(source) / name).exists() for name in ("summary.json", "config.toml", "model")):
        given_besides = {**model, "config": config, "set": settings or None}
        unused = [f"--{name}" for name, value in given_besides.items() if value is not None]
        if unused:
            raise GatewiseError(f"{source} is a run: its model and data are known, so leave out {unused[0]}")
        keys, where = gather(None, None, flags)
        folder = Path(take_folder(keys, where) or source)
        run = Run.load(source, device)
        options = _options(keys, where, counts)
        make_audit_folder(folder)
        found, about = audit_run(run, data=data, **options)
    else:
        if (Path(source) / "comparison.json").is_file():
            raise GatewiseError(f"{source} is a comparison; audit one of its runs, in {Path(source) / 'cells'}")
        if data is not None:
            raise GatewiseError(
                f"--data goes with a run folder, and {source} is none; give the data themselves instead"
            )
        keys, where = gather(config, settings, {**flags, **model, "data": source, "device": device})
        given = take_folder(keys, where)
        options = _options(keys, where, counts)
        checked = load_config(keys | {"seed": options.get("seed", 0)}, where)
        if given:
            make_audit_folder(Path(given))
        found, about = audit_data(checked, **options)
        folder = Path(given) if given else _free_folder(source)
    with stop.noted():  # the page is of the figures beside it
        contents = write_files(folder, found, about, words)
    if stop():
        return stop.said()
    if json_:
        print(json.dumps(contents, ensure_ascii=False))
    else:
        show(contents, folder)
    return 0


def show(contents: dict[str, Any], folder: Path) -> None:
    """Print the table, the verdict, and where the page is."""
    screen = console()

    def say(text: str, **style: Any) -> None:
        screen.print(text, soft_wrap=not screen.is_terminal, **style)

    say(f"{contents['name']}: {count(contents['examples'], 'example')}, K = {contents['num_categories']}\n")
    screen.print(audit_table(contents))
    say(f"\n{order_line(contents, 'audit.html and audit.json')}\n{legend(contents)}\n")
    for finding in verdict(contents):
        say(f"{MARKS[finding.level]} {finding.text}")
    for note in contents["notes"]:
        say(f"! {note}", style="yellow")
    for refused in contents["skipped"]:
        say(f"- not audited, {refused['estimator']}: {refused['reason']}")
    screen.print(f"\npage   {folder / 'audit.html'}\ndata   {folder / 'audit.json'}", soft_wrap=True)


def audit_table(contents: dict[str, Any]) -> Table:
    """One line a setting, those to use first; 80 columns wide."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column(HEADER[0], min_width=20)
    for heading in HEADER[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in shown(contents):
        table.add_row(*cells(row))
    return table


def _options(keys: dict[str, Any], where: dict[str, str], counts: list[int] | None) -> dict[str, Any]:
    """Take what `gatewise.audit` is told out of the keys."""
    found: dict[str, Any] = {name: take_number(keys, where, name) for name in ("rows", "max_evaluations")}
    names = take_names(keys, where, "estimators")
    if names is not None:
        found["estimators"] = [parse_estimator(text) for text in names]
        if any("samples" in options for _, options in found["estimators"]):
            raise GatewiseError(f"{where['estimators']}: give numbers of samples with --samples, for all of them")
    found["num_samples"] = counts
    found["temperatures"] = _numbers(keys, where, "temperatures", float)
    found |= {name: keys.pop(name, None) for name in ("seconds", "level", "seed")}
    if not isinstance(found["seconds"], int | float | None) or isinstance(found["seconds"], bool):
        raise GatewiseError(f"{where['seconds']}: seconds: give a number, got {found['seconds']!r}")
    return {name: value for name, value in found.items() if value is not None}


def _numbers(keys: dict[str, Any], where: dict[str, str], key: str, kind: type) -> list[Any] | None:
    """Take numbers with commas between, or a list of them, out of the keys."""
    value = keys.pop(key, None)
    if value is None:
        return None
    texts: Sequence[Any] = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    try:
        return [kind(text) for text in texts]
    except (TypeError, ValueError):
        what = "whole numbers" if kind is int else "numbers"
        raise GatewiseError(f"{where[key]}: {key}: give {what} with commas between them, got {value!r}") from None


def _free_folder(source: str) -> Path:
    """The first of audits/NAME-1, audits/NAME-2, … that is not there."""
    names = (Path("audits") / f"{named_after(source, 'audit')}-{number}" for number in itertools.count(1))
    return next(folder for folder in names if not folder.exists())
