"""Callbacks of a training: a small fixed set of hooks, and event files for TensorBoard."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gatewise.errors import GatewiseError, check_callable, check_kinds
from gatewise.files import as_path

PARTS = ("train", "validation")
"""What metrics begin with that are shown side by side: `train_loss` is the curve `train/loss`."""


class Callback:
    """Base of all callbacks; each hook does nothing unless a subclass writes it."""

    def state_dict(self) -> dict[str, Any]:
        """What is kept of it in checkpoints, as JSON can hold it: for what it writes of epochs that are behind."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave; {} where training begins. `on_restart` or `on_choice` follows."""

    def on_start(self, epochs: int, steps_per_epoch: int) -> None:
        """Before the first step."""

    def on_step(self, step: int) -> None:
        """After each optimiser step."""

    def on_epoch(self, metrics: dict[str, Any]) -> None:
        """After each epoch's validation, with its line of `metrics.jsonl`."""

    def on_restart(self, history: list[dict[str, Any]]) -> None:
        """When training is not where it was: it is resumed, or has another start.

        Only the epochs in `history` count from here on, whether they were told or not. While there are starts to
        choose from, the metrics of an epoch have the number of its start, from 1, as "start".
        """

    def on_choice(self, start: int, history: list[dict[str, Any]], said: str) -> None:
        """When the best of several starts goes on: the epochs in `history` count, without "start", and no others.

        `said` are words for people on how good each start was.
        """

    def on_warning(self, message: str) -> None:
        """When something is wrong with the gate or the experts; each kind is said once."""

    def on_end(self) -> None:
        """After the last step, also when training was stopped or failed."""


def check_callbacks(callbacks: Iterable[Callback]) -> list[Callback]:
    """The callbacks as a list; raises GatewiseError for what is none."""
    return check_kinds(callbacks, Callback, "callbacks", "make a class of gw.training.Callback, and give [one of it]")


def check_should_stop(should_stop: object) -> None:
    """Raises GatewiseError for what cannot be asked whether training is to stop."""
    check_callable(should_stop, "should_stop", "one that is asked after every step, such as lambda: False")


def named(callbacks: Iterable[Callback]) -> Iterator[tuple[str, Callback]]:
    """Each by the name of its class, and a number from the second of a class on."""
    met: Counter[str] = Counter()
    for one in callbacks:
        name = type(one).__name__
        met[name] += 1
        yield (name if met[name] == 1 else f"{name} {met[name]}"), one


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
        self.folder, self.config, self.step = as_path(folder, "folder"), config, 0
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
