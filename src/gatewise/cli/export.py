"""`gatewise export`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from gatewise.cli.console import console
from gatewise.cli.options import Json, RunFolder
from gatewise.models.export import export as write
from gatewise.runs import Run


def export(
    run: RunFolder,
    format: Annotated[
        str | None, typer.Option(help="pt2 (torch.export) or onnx; default: the ending of --output, else pt2.")
    ] = None,
    route: Annotated[str, typer.Option(help="mixture, or top1 (the gate's argmax alone).")] = "mixture",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; default: RUN/model-ROUTE.FORMAT.")
    ] = None,
    json_: Json = False,
) -> None:
    """Write a trained run as one file that runs without gatewise: prepared inputs in, class probabilities out.

    The file is compared with the model before it is written, and holds the names of the classes and what preprocessing
    it expects.

    Example: gatewise export runs/digits --format onnx -o digits.onnx
    """
    chosen = format or (output.suffix.removeprefix(".") if output else "pt2")
    loaded = Run.load(run, "cpu")
    written = write(loaded.model, output or Path(run) / f"model-{route}.{chosen}", chosen, route)
    if json_:
        print(json.dumps({"path": str(written.path), "difference": written.difference, **written.metadata}))
        return
    said, screen = written.metadata, console()
    sides = (f"{side['dtype']} {_shape(side['shape'])}" for side in (said["input"], said["output"]))
    screen.print(
        f"{written.path}: {' → '.join(sides)}, the probabilities of {', '.join(said['classes'])}", soft_wrap=True
    )
    screen.print(f"differs from the model by {written.difference:.1e} at most, on {written.rows} rows", soft_wrap=True)
    prepared = said["preprocessing"]["formula"]
    screen.print(f"expects rows prepared as {prepared}; the metadata in the file says more", soft_wrap=True)
    if route == "top1":
        screen.print(
            f"runs all {said['experts_run']} experts for every row and picks one: the format cannot branch by row",
            soft_wrap=True,
        )


def _shape(sizes: list[int | str]) -> str:
    return f"[{', '.join(map(str, sizes))}]"
