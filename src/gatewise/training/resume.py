"""Resuming: a training is kept in checkpoints while it runs, and goes on from the last of them."""

import time
from pathlib import Path

from gatewise.errors import GatewiseError
from gatewise.training.checkpoints.folder import Checkpoints
from gatewise.training.loop import Trainer
from gatewise.training.restarts import Restarts
from gatewise.training.state import capture, restore


class Saver:
    """Writes checkpoints of a training: what `Trainer.save` is, where there are checkpoints.

    Args:
        trainer: whose state it is, with that of its restarts.
        restarts: of the trainer.
        checkpoints: where it is kept.
    """

    def __init__(self, trainer: Trainer, restarts: Restarts, checkpoints: Checkpoints):
        self.trainer, self.restarts, self.checkpoints = trainer, restarts, checkpoints
        self.saved_at = time.perf_counter()

    def __call__(self, now: bool = False, diverged: bool = False) -> Path | None:
        """Write one where it is time, or `now`, or `diverged` after there was something to keep: see `Trainer`."""
        trainer, group, folder = self.trainer, self.trainer.group, self.checkpoints.folder
        if diverged and not (trainer.result.history or folder.exists()):
            return None
        seconds = trainer.config.checkpoint_seconds
        due = now or diverged or bool(seconds and time.perf_counter() - self.saved_at >= seconds)
        if self.checkpoints.collective:  # as the first one's clock says
            due = group.any(due and group.is_leader)
        elif not group.is_leader:
            due = False
        if due:
            self.checkpoints.save(capture(trainer, self.restarts))
            self.saved_at = time.perf_counter()
        return folder if diverged else None


def resume(trainer: Trainer, restarts: Restarts, checkpoints: Checkpoints) -> None:
    """Take up the last state that was kept, where there is one, and keep the states that follow.

    Raises:
        GatewiseError: if the checkpoint is of another training, or another one for each process.
    """
    if trainer.mixture.experts.collective and not checkpoints.collective:
        raise GatewiseError("experts that are spread over processes are kept in ShardedCheckpoints")
    found, said = checkpoints.latest(trainer.train_step.parameter_of)
    if found is not None:
        said = [*said, *restore(trainer, found, restarts)]
        trainer.result.seconds_before = float(found.state.get("seconds", 0.0))
    elif said:
        said = [*said, "no checkpoint is whole: training begins again"]
    places = trainer.group.all_gather((trainer.train_step.step, restarts.scores))
    if any(place != places[0] for place in places):
        raise GatewiseError(
            f"the processes find different checkpoints in {checkpoints.folder}; put the run folder where all see it"
        )
    trainer.tell_restart()
    for line in said:
        trainer.tell(line)
    trainer.save = Saver(trainer, restarts, checkpoints)
