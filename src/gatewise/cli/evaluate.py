"""`gatewise evaluate`."""

import json
from typing import Annotated, Any

import typer
from torch import Tensor

from gatewise.cli.console import console
from gatewise.cli.options import Calibrated, Device, Json, RunFolder
from gatewise.cli.tables import (
    classes_table,
    coverage_table,
    figures_table,
    labels_table,
    said_of_constant,
    said_of_seen,
)
from gatewise.data import Records, StoredRows
from gatewise.data.unknown_values import UnknownValues
from gatewise.data.unlabelled import Labelled, said_of_rows
from gatewise.errors import GatewiseError
from gatewise.runs import Run
from gatewise.runs.seen_rows import SeenRows


def evaluate(
    run: RunFolder,
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="Rows with labels; default: the test rows of the run.")
    ] = None,
    calibrated: Calibrated = False,
    device: Device = "auto",
    json_: Json = False,
) -> None:
    """Measure a trained run on its test rows, or on DATA.

    Example: gatewise evaluate runs/adult new.csv --json
    """
    loaded = Run.load(run, device)
    figures: dict[str, Any]  # of each kind of target its own
    constant, seen = loaded.constant, SeenRows.load(loaded.folder)
    unknown = UnknownValues(loaded.model.preprocessing)

    def watch(part: Records, x: Tensor, y: Tensor) -> None:
        constant.update(y)
        unknown.update(part, x.numpy())
        if seen is not None:
            seen.update(x)

    if changes := loaded.changes():
        # on standard error, where it spoils no JSON
        console(stderr=True).print(f"not as it was in training: {'; '.join(changes)}", soft_wrap=True)
    parts = Labelled(loaded.stream(data, require_target=True)) if data else None
    records = loaded.test_rows() if parts is None else parts
    if loaded.model.spec.head == "categorical":
        tally = loaded.tally(records, calibrated=calibrated, watch=watch)
        figures = {**tally.result().to_dict(), "classes": tally.by_class(loaded.model.spec.classes)}
        selective = tally.selective.table()
    elif calibrated:
        raise GatewiseError(f"--calibrated is for classes, and this run has the head {loaded.model.spec.head}")
    else:
        figures, selective = loaded.figures(records, watch=watch), None
    figures |= constant.result() | ({} if seen is None else {"rows_seen": seen.seen})
    left_out = parts.unlabelled if parts is not None else {}
    if said := unknown.said():
        typer.echo(said, err=True)
    if json_:
        more = {"unlabelled": sum(left_out.values())} | ({} if selective is None else {"selective": selective})
        print(json.dumps(figures | more))
    else:
        screen = console()
        name = records.name if isinstance(records, Records | StoredRows) else data
        screen.print(f"{run} on {figures['rows']} rows of {name}\n", soft_wrap=True)
        if told := said_of_rows(left_out):
            screen.print(f"{told}.\n", soft_wrap=True)
        screen.print(figures_table(figures))
        for told in (said_of_constant(figures), said_of_seen(figures.get("rows_seen"), figures["rows"])):
            if told:
                screen.print(f"\n{told}", soft_wrap=True)
        for each in (classes_table(figures.get("classes")), labels_table(figures.get("labels"))):
            if each is not None:
                screen.print()
                screen.print(each)
        if selective is not None:
            screen.print()
            screen.print(coverage_table(selective))
