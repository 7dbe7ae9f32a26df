"""`metrics.jsonl`: one JSON object an epoch, written as it happens."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from gatewise.errors import GatewiseError
from gatewise.files import write_text
from gatewise.training.callbacks import Callback


class MetricsFile(Callback):
    """Appends a line after each epoch; a context manager that closes the file.

    Args:
        path: the file.
        history: the lines of the epochs that were trained before.

    Raises:
        GatewiseError: if the file cannot be written.
    """

    def __init__(self, path: Path, history: Sequence[dict[str, Any]] = ()):
        self.path = path
        write_text(path, "".join(json.dumps(metrics) + "\n" for metrics in history))
        try:
            self.file: TextIO = path.open("a", encoding="utf-8")
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
