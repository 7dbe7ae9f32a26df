"""Restarts: a training begins several times from different weights, and the best of them goes on."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from torch import nn

from gatewise.errors import GatewiseError
from gatewise.training.checkpoints.folder import Checkpoint
from gatewise.training.loop import Trainer
from gatewise.training.seeding import seeds
from gatewise.training.state import capture, restore
from gatewise.training.stateful import part, prefixed

STARTS = 3
"""How many starts, where it is not set."""
SHARE = 0.2
"""Of the epochs, that each start has."""


class RestartState(BaseModel):
    """What a checkpoint, which may come from a stranger, says of the starts that are over."""

    scores: list[float]
    best_start: dict[str, Any] | None


class Restarts:
    """The starts of one training.

    Which expert serves which rows is decided in the first hundreds of steps, and now and then for the worse: one
    expert has two regions to the end, where two others share one. The validation NLL tells early. So each start has
    other weights, another order of rows and other noise, and `SHARE` of the epochs, in which learning rate and
    temperature move as they would anyway; the one with the lowest validation NLL (the lowest loss, where there are no
    validation rows) goes on from where it ended. S starts cost 1 + (S - 1) / 5 trainings.

    Args:
        trainer: that has not begun; its weights are those of the first start.
        number: of starts; None takes `STARTS` where weights can be drawn and there are epochs enough.
        model_factory: makes the model with weights drawn from torch's global random state.

    Attributes:
        scores: of the starts that are over.
        best: the state in which the best of them ended, until all are over.

    Raises:
        GatewiseError: for several starts of a model that nothing makes.
    """

    def __init__(self, trainer: Trainer, number: int | None, model_factory: Callable[[], nn.Module] | None):
        if number is None:
            number = STARTS if model_factory is not None and SHARE * trainer.epochs >= 1 else 1
        elif number > 1 and model_factory is None:
            raise GatewiseError(
                f"starts is {number}, but nothing draws these weights anew: pass model_factory, or set it to 1"
            )
        self.trainer, self.number, self.model_factory = trainer, number, model_factory
        self.epochs = min(trainer.warm_epochs + max(round(SHARE * trainer.epochs), 1), trainer.epochs)
        self.scores: list[float] = []
        self.best: Checkpoint | None = None
        self.first = capture(trainer) if number > 1 else None
        self._tell_start()

    @property
    def over(self) -> bool:
        """Whether the best goes on, or there never were several."""
        return self.first is None or len(self.scores) == self.number

    def _tell_start(self) -> None:
        self.trainer.start = None if self.over else len(self.scores) + 1

    def run(self) -> None:
        """Train what is left of the starts, and put the trainer where the best ended, unless it is interrupted."""
        result = self.trainer.result
        while not self.over:
            self.trainer.train_until(self.epochs)
            if result.stopped == "interrupted":
                # leave what is best so far, where it is not the start that was interrupted
                if self.best is not None and not self.trainer.best_nll < min(self.scores):
                    restore(self.trainer, self.best)
                    self.trainer.tell_restart()
                return
            if result.stopped:  # out of patience: this start ends here
                result.stopped = None
                self.trainer.begin_epoch(self.trainer.epoch + 1)
            self._finish()
            if self.over:
                self._choose()
            else:
                self._begin(len(self.scores))

    def state_dict(self) -> dict[str, Any]:
        """The starts that are over, and where the best of them ended."""
        if self.best is None:
            return {"scores": self.scores, "best_start": None}
        told = {"step": self.best.step, **self.best.state}
        return {"scores": self.scores, "best_start": told, **prefixed("best_start", self.best.tensors)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take such a state.

        Raises:
            ValueError: if it is of a training with other starts.
        """
        others = ValueError("with other starts")
        try:
            found = RestartState.model_validate(state)
        except ValidationError:
            raise others from None
        if len(found.scores) > (self.number if self.number > 1 else 0):
            raise others
        self.scores = found.scores
        if self.scores and not self.over:
            if found.best_start is None:
                raise others
            step = found.best_start.pop("step", 0)
            self.best = Checkpoint(step, part("best_start", state), found.best_start)
        self._tell_start()

    def chosen(self) -> int:
        """The best so far, from 0."""
        return min(range(len(self.scores)), key=self.scores.__getitem__)

    def _finish(self) -> None:
        trainer = self.trainer
        score = trainer.best_nll if trainer.validation is not None else trainer.result.history[-1]["train_loss"]
        self.scores.append(score)
        if self.chosen() == len(self.scores) - 1:
            self.best = capture(trainer)
        self._tell_start()

    def _begin(self, index: int) -> None:
        """Everything as before the first start, but for what is drawn."""
        assert self.first is not None
        assert self.model_factory is not None
        trainer = self.trainer
        restore(trainer, self.first)
        trainer.train_step.reseed(seeds(trainer.config.seed, 5 + index)[-1])
        with torch.no_grad():
            for parameter, drawn in zip(trainer.mixture.parameters(), self.model_factory().parameters(), strict=True):
                if parameter.requires_grad:
                    parameter.copy_(drawn)
        trainer.begin_epoch(1)
        trainer.tell_restart()

    def _choose(self) -> None:
        """Go on with the best, and say what it was before."""
        assert self.best is not None
        trainer = self.trainer
        restore(trainer, self.best)
        self.best = self.first = None  # their memory is free for the rest of the training
        result = trainer.result
        result.history = [{k: v for k, v in line.items() if k != "start"} for line in result.history]
        found = ", ".join(f"{score:.4f}" for score in self.scores)
        what = "loss" if trainer.validation is None else "validation NLL"
        start = self.chosen() + 1
        said = f"start {start} of {self.number} goes on: {what} {found} after {self.epochs} epochs"
        for callback in trainer.callbacks:
            callback.on_choice(start, result.history, said)
        for message in result.warnings:
            trainer.tell(message)
        if trainer.out_of_patience(trainer.epoch - 1):
            result.stopped = "early"
