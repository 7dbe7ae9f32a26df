"""`gatewise predict`."""

from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from gatewise.cli.options import Device, RunFolder
from gatewise.errors import GatewiseError
from gatewise.training import Run
from gatewise.training.predict import predictions


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
    frame = predictions(loaded.model, loaded.read(data, require_target=False), route=route, k=k)
    if output is None:
        typer.echo(frame.write_csv(), nl=False)
        return
    write(frame, output)
    typer.echo(f"{len(frame)} predictions in {output}", err=True)


def write(frame: pl.DataFrame, output: Path) -> None:
    """Write a table under a temporary name and rename it into place.

    Raises:
        GatewiseError: if it cannot be written; what was there before is untouched.
    """
    part = output.with_name(f".{output.name}.part")
    try:
        if output.suffix == ".csv":
            frame.write_csv(part)
        else:
            frame.write_parquet(part)
        part.replace(output)
    except OSError as error:
        raise GatewiseError(f"cannot write {output}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
