"""`metrics.jsonl`: one JSON object an epoch, written as it happens."""

import json
from pathlib import Path
from typing import Any, TextIO

from gatewise.errors import GatewiseError
from gatewise.files import write_text
from gatewise.training.callbacks import Callback


class MetricsFile(Callback):
    """Appends a line after each epoch; a context manager that closes the file.

    Args:
        path: the file.

    Raises:
        GatewiseError: if the file cannot be written.
    """

    def __init__(self, path: Path):
        self.path = path
        self.file = self._holding([])

    def __enter__(self) -> "MetricsFile":
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()

    def on_choice(self, start: int, history: list[dict[str, Any]], said: str) -> None:
        """Hold the lines of the start that goes on."""
        self.on_restart(history)

    def on_restart(self, history: list[dict[str, Any]]) -> None:
        """Hold the lines of `history`, and no others."""
        self.file.close()
        self.file = self._holding(history)

    def _holding(self, history: list[dict[str, Any]]) -> TextIO:
        """The file with these lines in it, open for more."""
        write_text(self.path, "".join(json.dumps(metrics) + "\n" for metrics in history))
        try:
            return self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise GatewiseError(f"cannot write {self.path}: {error.strerror}") from None

    def on_epoch(self, metrics: dict[str, Any]) -> None:
        """Write the epoch's line and flush it."""
        try:
            self.file.write(json.dumps(metrics) + "\n")
            self.file.flush()
        except OSError as error:
            raise GatewiseError(f"cannot write {self.path}: {error.strerror}") from None
