"""Options that several commands share."""

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.", show_default=True)]
RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="A run folder made by gatewise train.")]
Calibrated = Annotated[
    bool, typer.Option("--calibrated", help="Probabilities by the temperature fitted on the run's validation rows.")
]
