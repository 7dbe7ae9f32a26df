"""`gatewise evaluate`."""

import json
from typing import Annotated

import typer

from gatewise.cli.console import console
from gatewise.cli.options import Device, Json, RunFolder
from gatewise.cli.tables import figures_table
from gatewise.data import Records
from gatewise.training import Run


def evaluate(
    run: RunFolder,
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="Rows with labels; default: the test rows of the run.")
    ] = None,
    device: Device = "auto",
    json_: Json = False,
) -> None:
    """Measure a trained run on its test rows, or on DATA.

    Example: gatewise evaluate runs/adult new.csv --json
    """
    loaded = Run.load(run, device)
    records = loaded.stream(data, require_target=True) if data else loaded.test_rows()
    figures = loaded.evaluate(records).to_dict()
    if json_:
        print(json.dumps(figures))
    else:
        screen = console()
        name = records.name if isinstance(records, Records) else data
        screen.print(f"{run} on {figures['rows']} rows of {name}\n", soft_wrap=True)
        screen.print(figures_table(figures))
