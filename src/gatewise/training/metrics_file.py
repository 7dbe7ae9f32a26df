"""`metrics.jsonl`: one JSON object an epoch, written as it happens."""

import json
from pathlib import Path
from typing import Any, TextIO

from gatewise.errors import GatewiseError
from gatewise.training.callbacks import Callback


class MetricsFile(Callback):
    """Appends a line after each epoch; a context manager that closes the file.

    Raises:
        GatewiseError: if the file cannot be written.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            self.file: TextIO = path.open("w", encoding="utf-8")
        except OSError as error:
            raise GatewiseError(f"cannot write {path}: {error.strerror}") from None

    def __enter__(self) -> "MetricsFile":
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()

    def on_epoch(self, metrics: dict[str, Any]) -> None:
        """Write the epoch's line and flush it."""
        try:
            self.file.write(json.dumps(metrics) + "\n")
            self.file.flush()
        except OSError as error:
            raise GatewiseError(f"cannot write {self.path}: {error.strerror}") from None
