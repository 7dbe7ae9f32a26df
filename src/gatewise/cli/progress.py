"""Progress of a training: a bar on a terminal, plain lines elsewhere; always on standard error."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gatewise.training import Callback

SECONDS = 5.0
"""Between lines of progress where there is no terminal: a log of hundreds of epochs is read by nobody."""


def epoch_text(metrics: dict[str, Any]) -> str:
    """NLL, accuracy or RMSE, λ, gate entropy and experts used, on one line."""
    right, off = metrics.get("validation_accuracy"), metrics.get("validation_rmse")
    parts = [f"NLL {metrics['validation_nll']:.4f}", f"RMSE {off:.4g}" if right is None else f"accuracy {right:.4f}"]
    if metrics["temperature"] is not None:
        parts.append(f"λ {metrics['temperature']:.2f}")
    experts = metrics["validation_experts_used"] + metrics["validation_dead_experts"]
    parts += [f"H(z|x) {metrics['train_gate_entropy']:.2f}", f"experts {metrics['train_experts_used']}/{experts}"]
    return "  ".join(parts)


class Lines(Callback):
    """Plain lines: of the first epoch, of the last, and between them of one every `SECONDS`."""

    def __init__(self, console: Console):
        self.console = console
        self.due, self.waiting = 0.0, ""

    def on_start(self, epochs: int, steps_per_epoch: int) -> None:
        """Remember how many epochs there may be."""
        self.epochs = epochs

    def on_epoch(self, metrics: dict[str, Any]) -> None:
        """Print the epoch, where it is time."""
        start = f"start {metrics['start']}  " if "start" in metrics else ""
        self.waiting = f"{start}epoch {metrics['epoch']}/{self.epochs}  {epoch_text(metrics)}"
        if time.monotonic() >= self.due:
            self.say(self.waiting)
            self.due, self.waiting = time.monotonic() + SECONDS, ""

    def on_end(self) -> None:
        """Print the last epoch, where it is not printed yet."""
        if self.waiting:
            self.say(self.waiting)

    def on_choice(self, start: int, history: list[dict[str, Any]], said: str) -> None:
        """Print which start goes on."""
        self.say(said)

    def on_warning(self, message: str) -> None:
        """Print the warning."""
        self.say(f"warning: {message}", style="yellow")

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line."""
        self.console.print(text, style=style, soft_wrap=True)


class Bar(Lines):
    """A progress bar that moves with every step and shows the last epoch's figures."""

    def on_start(self, epochs: int, steps_per_epoch: int) -> None:
        """Draw the bar."""
        super().on_start(epochs, steps_per_epoch)
        self.steps_per_epoch = steps_per_epoch
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=True,
        )
        self.task = self.progress.add_task("", total=epochs * steps_per_epoch, epoch=f"1/{epochs}", figures="")
        self.progress.start()

    def on_step(self, step: int) -> None:
        """Move the bar."""
        epoch = min((step - 1) // self.steps_per_epoch + 1, self.epochs)
        self.progress.update(self.task, completed=step, epoch=f"{epoch}/{self.epochs}")

    def on_epoch(self, metrics: dict[str, Any]) -> None:
        """Show the epoch's figures."""
        start = f"start {metrics['start']}  " if "start" in metrics else ""
        self.progress.update(self.task, figures=start + epoch_text(metrics))

    def on_end(self) -> None:
        """Take the bar away."""
        self.progress.stop()


def watcher(console: Console) -> Callback:
    """A bar where `console` is a terminal, plain lines elsewhere."""
    return Bar(console) if console.is_terminal else Lines(console)
