"""The state of a training between two steps: collected from its parts as a checkpoint, and given back to them."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from gatewise.distributed.dtensor import is_sharded
from gatewise.errors import GatewiseError
from gatewise.training.checkpoints.folder import Checkpoint
from gatewise.training.loop import Trainer
from gatewise.training.stateful import Stateful


def _parts(trainer: Trainer, more: tuple[Stateful, ...]) -> Iterator[Stateful]:
    # the weights last: what is wrong with the rest is found before they are written over
    yield from (trainer, trainer.monitor, trainer.reseeding, trainer.statistics, *more, trainer.train_step)


def capture(trainer: Trainer, *more: Stateful) -> Checkpoint:
    """Everything that the steps to come depend on, of the trainer's parts and of more."""
    state: dict[str, Any] = _engine(trainer)
    for part in _parts(trainer, more):
        state |= part.state_dict()
    # copies, as training goes on while nobody has written them yet, and safetensors takes no shared memory
    tensors = {name: _copy(value.detach()) for name, value in state.items() if isinstance(value, Tensor)}
    others = {name: copy.deepcopy(value) for name, value in state.items() if name not in tensors}
    return Checkpoint(others.pop("step"), tensors, others)


def _copy(tensor: Tensor) -> Tensor:
    """On the CPU, but for what this process has a part of."""
    return (tensor if is_sharded(tensor) else tensor.cpu()).clone()


def restore(trainer: Trainer, checkpoint: Checkpoint, *more: Stateful) -> list[str]:
    """Put a trainer, and more, where the checkpoint was; returns what is to be said about it.

    Raises:
        GatewiseError: if the checkpoint is of another model or training.
    """
    try:
        TrainingState.model_validate(checkpoint.state)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise GatewiseError(
            f"the checkpoint of step {checkpoint.step} is damaged: {where} is not as it should be"
        ) from None
    # a copy, as training goes on to change its lists
    state = {**copy.deepcopy(checkpoint.state), **checkpoint.tensors, "step": checkpoint.step}
    try:
        for part in _parts(trainer, more):
            part.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError, TypeError, IndexError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise GatewiseError(
            f"the checkpoint of step {checkpoint.step} is of another training ({reason}); restore the folder "
            "checkpoints, or delete it to train from the beginning"
        ) from None
    now, before = _engine(trainer), {"processes": 1, **state}  # what older checkpoints do not tell was 1
    changed = [f"{name} {now[name]} instead of {before.get(name)}" for name in now if now[name] != before.get(name)]
    if not changed:
        return []
    return [f"training goes on with {', '.join(changed)}: its numbers are no longer those to the bit"]


def _engine(trainer: Trainer) -> dict[str, Any]:
    """What the last bits of all numbers hang on, besides the state."""
    return {
        "threads": torch.get_num_threads(),
        "device": trainer.train_step.device.type,
        "torch": torch.__version__,
        "processes": trainer.group.size,
    }


class EpochRecord(BaseModel):
    """What is read of an epoch that is behind."""

    model_config = ConfigDict(strict=True)

    epoch: int
    train_loss: float
    train_experts_used: int
    train_effective_experts: float
    train_mutual_information: float
    # where there are validation rows
    validation_experts_used: int = 0
    validation_effective_experts: float = 0.0
    validation_mutual_information: float = 0.0


class ReseededExpert(BaseModel):
    """What is read of an expert that started again."""

    model_config = ConfigDict(strict=True)

    epoch: int
    expert: int
    donor: int


class TrainingState(BaseModel):
    """`state.json` of a checkpoint, which may come from a stranger; older ones lack what has a default."""

    model_config = ConfigDict(strict=True)

    epoch: int = Field(ge=1)
    batches: int = Field(ge=0)
    training: dict[str, int] = {}
    passed_over: int = Field(ge=0)
    progress: float = Field(0.0, ge=0, le=1)
    seconds: float = Field(0.0, ge=0, allow_inf_nan=False)
    watchers: dict[str, dict[str, Any]] = {}
    rows: int = Field(ge=0)
    history: list[EpochRecord]
    best_epoch: int = Field(ge=0)
    best_nll: float | None
    warnings: list[str]
    reseeded: list[ReseededExpert]
    said: dict[str, str] | list[str]
    lasted: dict[str, int]
    most_used: int
    dead_for: list[int]
