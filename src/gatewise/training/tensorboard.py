"""Event files for TensorBoard: what `metrics.jsonl` has, as curves over the optimiser's steps."""

from pathlib import Path
from typing import Any

from gatewise.errors import GatewiseError
from gatewise.training.callbacks import Callback

PARTS = ("train", "validation")
"""What metrics begin with that are shown side by side: `train_loss` is the curve `train/loss`."""


class TensorBoard(Callback):
    """Writes each epoch's numbers, and warnings as text: a callback for `train` and `fit`.

    The event files that are in the folder are replaced.

    Args:
        folder: where `tensorboard --logdir` will look.
        config: shown as text, where it is given.

    Raises:
        GatewiseError: where the package tensorboard is not installed.
    """

    def __init__(self, folder: str | Path, config: str | None = None):
        check_tensorboard(True)
        self.folder, self.config, self.step = Path(folder), config, 0
        self.writer: Any = None

    def on_start(self, epochs: int, steps_per_epoch: int) -> None:
        """Begin a file, where none was begun when training was resumed."""
        if self.writer is None:
            self.on_restart([])

    def on_choice(self, start: int, history: list[dict[str, Any]], said: str) -> None:
        """Begin a file with the epochs of the start that goes on."""
        self.on_restart(history)

    def on_restart(self, history: list[dict[str, Any]]) -> None:
        """Begin a file with the epochs of `history`; what was written before is removed."""
        if self.writer is not None:
            self.writer.close()
        try:
            for old in self.folder.glob("events.out.tfevents.*"):
                old.unlink()
            self.writer = _writer_class()(str(self.folder))
        except OSError as error:
            raise GatewiseError(f"cannot write into {self.folder}: {error.strerror or error}") from None
        if self.config is not None:
            indented = "".join(f"    {line}\n" for line in self.config.splitlines())
            self.writer.add_text("config", indented, 0)
        for metrics in history:
            self.on_epoch(metrics)

    def on_epoch(self, metrics: dict[str, Any]) -> None:
        """Write the epoch's numbers at its last step."""
        self.step = metrics["step"]
        for name, value in metrics.items():
            if name != "step" and isinstance(value, int | float):
                self.writer.add_scalar(curve(name), value, self.step)
        self.writer.flush()

    def on_warning(self, message: str) -> None:
        """Write the warning."""
        self.writer.add_text("warnings", message, self.step)

    def on_end(self) -> None:
        """Close the file."""
        self.writer.close()


def curve(name: str) -> str:
    """The name of the curve of a metric."""
    part, _, rest = name.partition("_")
    return f"{part}/{rest}" if part in PARTS else name


def check_tensorboard(wanted: bool) -> None:
    """Refuse event files, where they are wanted and cannot be written.

    Raises:
        GatewiseError: where the package tensorboard is not installed.
    """
    if wanted:
        _writer_class()


def _writer_class() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise GatewiseError(
            "event files need the package tensorboard; install it with: pip install tensorboard"
        ) from None
    return SummaryWriter
