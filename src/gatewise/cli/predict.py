"""`gatewise predict`."""

from pathlib import Path
from typing import Annotated

import typer

from gatewise.cli.options import Device, RunFolder
from gatewise.errors import GatewiseError
from gatewise.files import replacing
from gatewise.training import Run
from gatewise.training.predict import predictions
from gatewise.wording import shown


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
    device: Device = "auto",
) -> None:
    """Write the predicted label, the probability of every class, and the gate's expert for each row of DATA.

    Example: gatewise predict runs/adult new.csv -o predicted.parquet
    """
    if output and output.suffix not in (".csv", ".parquet"):
        raise GatewiseError(f"{output}: predictions are written as .csv or .parquet; choose one of these endings")
    loaded = Run.load(run, device)
    records = loaded.read(data, require_target=False)
    frame = predictions(loaded.model, records, route=route, k=k)
    say_unknown(loaded.model.preprocessing.unknown(records))
    if output is None:
        typer.echo(frame.write_csv(), nl=False)
        return
    with replacing(output) as part:
        if output.suffix == ".csv":
            frame.write_csv(part)
        else:
            frame.write_parquet(part)
    typer.echo(f"{len(frame)} predictions in {output}", err=True)


def say_unknown(rows: dict[str, int]) -> None:
    """One line on standard error about values that are no category of the model's, by column."""
    if rows:
        said = ", ".join(f"{shown(name)} in {count} rows" for name, count in rows.items())
        typer.echo(f"values that were rare in training or are new, counted as other: {said}", err=True)
