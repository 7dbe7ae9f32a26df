"""What can watch a training: a small fixed set of hooks."""

from collections.abc import Iterable
from typing import Any

from gatewise.errors import check_kinds


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
