"""`gatewise predict`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from gatewise.cli.options import Calibrated, Device, RunFolder
from gatewise.data.target_columns import names_of
from gatewise.data.writers import csv_writer
from gatewise.models import Trust
from gatewise.runs import Run


def predict(
    run: RunFolder,
    data: Annotated[str, typer.Argument(help="Rows to predict, with or without labels.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .csv or .parquet file; default: CSV on standard output.")
    ] = None,
    route: Annotated[
        str, typer.Option(help="mixture (all experts), top1 (one expert's cost) or topk.", show_default=True)
    ] = "mixture",
    k: Annotated[int, typer.Option(help="Experts for topk.", show_default=True)] = 2,
    calibrated: Calibrated = False,
    uncertainty: Annotated[
        bool,
        typer.Option(
            "--uncertainty",
            help="Add entropy = expected_entropy (the experts' own) + information (what they disagree by), in nats.",
        ),
    ] = False,
    abstain_above: Annotated[
        float | None,
        typer.Option(help="Leave the label empty where the entropy of a row is above so many nats, and say so."),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="A,B,…", help="Columns of DATA to write before the predictions, such as an id; repeat."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Write the predicted label, the probability of every class, and the gate's expert for each row of DATA.

    Of numbers it writes mean, sd and quantiles, of several labels the probability that each is there.

    Tables are read, predicted and written part by part, so they may be larger than memory. The file is there when all
    rows are in it, and not before.

    Example: gatewise predict runs/adult new.csv -o predicted.parquet
    """
    columns = [name for text in keep or () for name in names_of(text, "--keep")]
    trust = Trust(calibrated, uncertainty, abstain_above)
    predicted = Run.load(run, device).predict(data, route=route, k=k, trust=trust, keep=columns)
    if output is None:
        write = csv_writer(sys.stdout.buffer.write)
        for frame in predicted:
            write(frame)
            sys.stdout.flush()
    else:
        typer.echo(f"{predicted.write(output)} predictions in {output}", err=True)
    if said := predicted.unknown.said():
        typer.echo(said, err=True)
