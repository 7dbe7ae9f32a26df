"""Several beginnings of a training from different weights, of which the best goes on."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ValidationError
from torch import nn

from gatewise.errors import GatewiseError
from gatewise.training.checkpoints.folder import Checkpoint
from gatewise.training.seeding import seeds
from gatewise.training.state import capture, restore

if TYPE_CHECKING:
    from gatewise.training.loop import Loop

STARTS = 3
"""Beginnings, where it is not set."""
SHARE = 0.2
"""Of the epochs, that each beginning has."""


class Kept(BaseModel):
    """What a checkpoint, which may come from a stranger, says of the beginnings that are over."""

    scores: list[float]
    best_start: dict[str, Any] | None


class Starts:
    """The beginnings of one training.

    Which expert serves which rows is decided in the first hundreds of steps, and now and then for the worse: one
    expert has two regions to the end, where two others share one. The validation NLL tells early. So each beginning has
    other weights, another order of rows and other noise, and `SHARE` of the epochs, in which learning rate and
    temperature move as they would anyway; the one with the lowest validation NLL (the lowest loss, where there are no
    validation rows) goes on from where it ended. S beginnings cost 1 + (S - 1) / 5 trainings.

    Args:
        loop: that has not begun; its weights are those of the first beginning.
        number: of beginnings; None takes `STARTS` where weights can be drawn anew and there are epochs enough.
        anew: makes the model with weights drawn from torch's global random state.

    Attributes:
        scores: of the beginnings that are over.
        best: the state in which the best of them ended, until all are over.

    Raises:
        GatewiseError: for several beginnings of a model that cannot be made anew.
    """

    def __init__(self, loop: "Loop", number: int | None, anew: Callable[[], nn.Module] | None):
        if number is None:
            number = STARTS if anew is not None and SHARE * loop.epochs >= 1 else 1
        elif number > 1 and anew is None:
            raise GatewiseError(f"starts is {number}, but nothing draws these weights anew: pass anew, or set it to 1")
        self.loop, self.number, self.anew = loop, number, anew
        self.epochs = min(loop.warm_epochs + max(round(SHARE * loop.epochs), 1), loop.epochs)
        self.scores: list[float] = []
        self.best: Checkpoint | None = None
        self.first = capture(loop) if number > 1 else None

    @property
    def over(self) -> bool:
        """Whether the best goes on, or there never were several."""
        return self.first is None or len(self.scores) == self.number

    def run(self) -> None:
        """Train what is left of the beginnings, and put the loop where the best ended, unless it is interrupted."""
        while not self.over:
            self.loop.train_until(self.epochs)
            if self.loop.result.stopped == "interrupted":
                self._interrupted()
                return
            if self.loop.result.stopped:  # out of patience: this beginning ends here
                self.loop.result.stopped = None
                self.loop.begin_epoch(self.loop.epoch + 1)
            self._finish()
            if self.over:
                self._choose()
            else:
                self._begin(len(self.scores))

    def pack(self, checkpoint: Checkpoint) -> Checkpoint:
        """A checkpoint of the loop, with what is kept of the beginnings that are over."""
        tensors, state = checkpoint.tensors, {**checkpoint.state, "scores": self.scores, "best_start": None}
        if self.best is not None:
            tensors = tensors | {f"best_start.{name}": value for name, value in self.best.tensors.items()}
            state["best_start"] = {"step": self.best.step, **self.best.state}
        return Checkpoint(checkpoint.step, tensors, state)

    def unpack(self, checkpoint: Checkpoint) -> None:
        """What `pack` put into the checkpoint.

        Raises:
            GatewiseError: if it is of a training with other beginnings.
        """
        others = GatewiseError(f"the checkpoint of step {checkpoint.step} is of a training with other starts")
        try:
            kept = Kept.model_validate(checkpoint.state)
        except ValidationError:
            raise others from None
        if len(kept.scores) > (self.number if self.number > 1 else 0):
            raise others
        self.scores = kept.scores
        if self.scores and not self.over:
            if kept.best_start is None:
                raise others
            step = kept.best_start.pop("step", 0)
            self.best = Checkpoint(step, checkpoint.part("best_start"), kept.best_start)

    def chosen(self) -> int:
        """The best so far, from 0."""
        return min(range(len(self.scores)), key=self.scores.__getitem__)

    def _finish(self) -> None:
        loop = self.loop
        score = loop.best_nll if loop.validation is not None else loop.result.history[-1]["train_loss"]
        self.scores.append(score)
        if self.chosen() == len(self.scores) - 1:
            self.best = capture(loop)

    def _begin(self, index: int) -> None:
        """Everything as before the first beginning, but for what is drawn."""
        assert self.first is not None
        assert self.anew is not None
        loop = self.loop
        restore(loop, self.first)
        order, noise, rest = seeds(seeds(loop.config.seed, 5 + index)[-1], 3)
        loop.trainer.order.manual_seed(order)
        loop.trainer.generator.manual_seed(noise)
        torch.manual_seed(rest)
        with torch.no_grad():
            for parameter, drawn in zip(loop.mixture.parameters(), self.anew().parameters(), strict=True):
                if parameter.requires_grad:
                    parameter.copy_(drawn)
        loop.begin_epoch(1)
        loop.tell_restart()

    def _choose(self) -> None:
        """Go on with the best, and say what it was before."""
        assert self.best is not None
        loop = self.loop
        restore(loop, self.best)
        self.best = self.first = None  # their memory is free for the rest of the training
        loop.result.history = [{k: v for k, v in line.items() if k != "start"} for line in loop.result.history]
        found = ", ".join(f"{score:.4f}" for score in self.scores)
        what = "loss" if loop.validation is None else "validation NLL"
        start = self.chosen() + 1
        said = f"start {start} of {self.number} goes on: {what} {found} after {self.epochs} epochs"
        for watcher in loop.watchers:
            watcher.on_choice(start, loop.result.history, said)
        for message in loop.result.warnings:
            loop.tell(message)
        if loop.out_of_patience(loop.epoch - 1):
            loop.result.stopped = "early"

    def _interrupted(self) -> None:
        """Leave what is best so far, where it is not the beginning that was interrupted."""
        if self.best is not None and not self.loop.best_nll < min(self.scores):
            restore(self.loop, self.best)
            self.loop.result.stopped = "interrupted"
            self.loop.tell_restart()
