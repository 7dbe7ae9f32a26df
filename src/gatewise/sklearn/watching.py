"""Progress and warnings of an estimator that is fitted, in the words of Python."""

import re
from typing import Any

from gatewise.training import Callback

FLAGS = re.compile(r"--regulariser \w+=[\d.]*\d(?: --regulariser \w+=[\d.]*\d)*")


class PrintProgress(Callback):
    """One line an epoch, for `verbose=1`.

    Args:
        name: of the estimator.
    """

    def __init__(self, name: str):
        self.name = name

    def on_start(self, epochs: int, steps_per_epoch: int) -> None:
        """Remember how many epochs there may be."""
        self.epochs = epochs

    def on_epoch(self, metrics: dict[str, Any]) -> None:
        """Print the epoch's line."""
        line = f"[{self.name}] epoch {metrics['epoch']}/{self.epochs}: loss {metrics['train_loss']:.4f}"
        if "validation_nll" in metrics:
            line += f", validation NLL {metrics['validation_nll']:.4f}"
        print(f"{line}, {metrics['seconds']:.1f} s")


def for_python(message: str) -> str:
    """Advice that names the command line's flags, with the constructor's parameters in their place."""
    said = FLAGS.sub(_as_parameter, message)
    said = re.sub(r"--set '?missing=(\[.*?\])'?", r"missing=\1", said)
    said = re.sub(r"--set '?(\w+)=([\d.]*\d|\[.*?\])'?", r'settings={"\1": \2}', said)
    said = re.sub(r"(?:--set|set) decimal ?= ?'?([.,])'?|\bdecimal = '([.,])'", _as_decimal, said)
    said = re.sub(r"--set '?(\w+)=([^\s'\[]+)'?", r'settings={"\1": "\2"}', said)
    return re.sub(r"--objective (\w+)", r'objective="\1"', said)


def _as_decimal(setting: re.Match[str]) -> str:
    return 'settings={"decimal": "' + (setting[1] or setting[2]) + '"}'


def _as_parameter(flags: re.Match[str]) -> str:
    pairs = re.findall(r"(\w+)=([\d.]*\d)", flags[0])
    return "regulariser={" + ", ".join(f'"{name}": {weight}' for name, weight in pairs) + "}"
