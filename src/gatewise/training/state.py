"""The whole state of a trainer between two steps, as a checkpoint, and back."""

import copy
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from gatewise.distributed.dtensor import is_sharded
from gatewise.errors import GatewiseError
from gatewise.training.callbacks import Callback
from gatewise.training.checkpoints.folder import Checkpoint
from gatewise.training.seeding import random_states, set_random_states

if TYPE_CHECKING:
    from gatewise.training.loop import Trainer


def capture(trainer: "Trainer") -> Checkpoint:
    """Everything that the steps to come depend on: weights, optimiser, estimator, random states, place in the epoch."""
    train_step, result, monitor, reseeding = trainer.train_step, trainer.result, trainer.monitor, trainer.reseeding
    tensors = {f"mixture.{name}": value for name, value in trainer.mixture.state_dict().items()}
    tensors |= {f"objective.{name}": value for name, value in trainer.objective.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in trainer.best.items()}
    for index, state in train_step.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
    tensors |= {f"random.{name}": value for name, value in random_states(train_step.device).items()}
    tensors["order"] = train_step.order_before
    tensors["noise"] = train_step.generator.get_state()
    tensors["reseeding"] = reseeding.generator.get_state()
    tensors["seen"] = trainer.seen
    tensors["statistics"] = trainer.statistics.sums
    state = {
        "epoch": trainer.epoch,
        "batches": trainer.done,
        "training": {"seed": trainer.config.seed, "steps": train_step.steps},
        "passed_over": train_step.passed_over,
        # of the last step: what an epoch is told of, and audited with, is as its last step had it
        "progress": train_step.progress,
        "rows": trainer.statistics.rows,
        "history": result.history,
        "seconds": trainer.seconds,
        "best_epoch": result.best_epoch,
        "watchers": {name: one.state_dict() for name, one in _named(trainer.callbacks)},
        "best_nll": trainer.best_nll if math.isfinite(trainer.best_nll) else None,
        "warnings": result.warnings,
        "reseeded": result.reseeded,
        "said": monitor.said,
        "lasted": monitor.lasted,
        "most_used": monitor.most_used,
        "dead_for": reseeding.dead_for,
        "threads": torch.get_num_threads(),
        "device": str(train_step.device.type),
        "torch": torch.__version__,
        "processes": trainer.group.size,
    }
    # copies, as training goes on while nobody has written them yet, and safetensors takes no shared memory
    copies = {name: _copy(value.detach()) for name, value in tensors.items()}
    return Checkpoint(train_step.step, copies, copy.deepcopy(state))


def _copy(tensor: Tensor) -> Tensor:
    """On the CPU, but for what this process has a part of."""
    return (tensor if is_sharded(tensor) else tensor.cpu()).clone()


def parameter_of(trainer: "Trainer", name: str) -> Tensor | None:
    """The parameter of the model that a tensor of a checkpoint belongs to, by its name: its weights or its moments."""
    part, _, rest = name.removeprefix("best_start.").partition(".")
    if part in ("mixture", "best"):
        return dict(trainer.mixture.named_parameters()).get(rest)
    index, _, what = rest.partition(".")
    if part != "optimiser" or what == "step" or not index.isdecimal():
        return None
    parameters = [p for group in trainer.train_step.optimiser.param_groups for p in group["params"]]
    return parameters[int(index)] if int(index) < len(parameters) else None


def restore(trainer: "Trainer", checkpoint: Checkpoint) -> list[str]:
    """Put a trainer that has not begun where the checkpoint was; returns what is to be said about it.

    Raises:
        GatewiseError: if the checkpoint is of another model or training.
    """
    train_step, result, monitor, reseeding = trainer.train_step, trainer.result, trainer.monitor, trainer.reseeding
    state, device = copy.deepcopy(checkpoint.state), train_step.device  # training goes on to change its lists
    try:
        _check(trainer, checkpoint)
        trainer.mixture.load_state_dict(checkpoint.part("mixture"))
        trainer.objective.load_state_dict(checkpoint.part("objective"))
        _restore_optimiser(train_step.optimiser, checkpoint.part("optimiser"))
        trainer.best = {name: value.to(device) for name, value in checkpoint.part("best").items()}
        train_step.step = checkpoint.step
        train_step.order.set_state(checkpoint.tensors["order"])
        train_step.generator.set_state(checkpoint.tensors["noise"])
        reseeding.generator.set_state(checkpoint.tensors["reseeding"])
        trainer.epoch, trainer.done = state["epoch"], state["batches"]
        train_step.passed_over = state["passed_over"]
        # older checkpoints do not tell it
        train_step.set_progress(state.get("progress", max(checkpoint.step - 1, 0) / max(train_step.steps, 1)))
        trainer.take_seen(checkpoint.tensors["seen"].to(device))
        trainer.statistics.restore(checkpoint.tensors["statistics"].to(device), state["rows"])
        result.history, result.best_epoch = state["history"], state["best_epoch"]
        trainer.best_nll = math.inf if state["best_nll"] is None else state["best_nll"]
        result.warnings, result.reseeded = state["warnings"], state["reseeded"]
        monitor.lasted, monitor.most_used = state["lasted"], state["most_used"]
        # older checkpoints have the kinds alone
        monitor.said = state["said"] if isinstance(state["said"], dict) else dict.fromkeys(state["said"], "")
        reseeding.dead_for = state["dead_for"]
        for name, one in _named(trainer.callbacks):
            one.load_state_dict(state.get("watchers", {}).get(name, {}))
        set_random_states(checkpoint.part("random"), device)
    except (KeyError, ValueError, RuntimeError, TypeError, IndexError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise GatewiseError(
            f"the checkpoint of step {checkpoint.step} is of another training ({reason}); restore the folder "
            "checkpoints, or delete it to train from the beginning"
        ) from None
    # what older checkpoints do not tell was 1
    now = {"threads": torch.get_num_threads(), "device": device.type, "torch": torch.__version__}
    now["processes"], before = trainer.group.size, {"processes": 1, **state}
    changed = [f"{name} {now[name]} instead of {before.get(name)}" for name in now if now[name] != before.get(name)]
    if not changed:
        return []
    return [f"training goes on with {', '.join(changed)}: its numbers are no longer those to the bit"]


def _named(callbacks: Iterable[Callback]) -> Iterator[tuple[str, Callback]]:
    """Each by the name of its class, and a number from the second of a class on."""
    met: Counter[str] = Counter()
    for one in callbacks:
        name = type(one).__name__
        met[name] += 1
        yield (name if met[name] == 1 else f"{name} {met[name]}"), one


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


class State(BaseModel):
    """The state of a checkpoint, which may come from a stranger."""

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


def _history_of(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    """The epochs that are behind.

    Raises:
        GatewiseError: if the state is not that of a training.
    """
    try:
        State.model_validate(checkpoint.state)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise GatewiseError(
            f"the checkpoint of step {checkpoint.step} is damaged: {where} is not as it should be"
        ) from None
    return checkpoint.state["history"]


def _check(trainer: "Trainer", checkpoint: Checkpoint) -> None:
    """Refuse by a ValueError what would only fail later."""
    state, tensors = checkpoint.state, checkpoint.tensors
    history = _history_of(checkpoint)
    now = {"seed": trainer.config.seed, "steps": trainer.train_step.steps}
    for key, value in state.get("training", {}).items():  # older checkpoints do not tell it
        if now.get(key) != value:
            raise ValueError(f"its {key}: {value}, here {now.get(key)}")
    if [epoch["epoch"] for epoch in history] != [*range(1, len(history) + 1)]:
        raise ValueError("its epochs are not numbered from 1 on")
    if len(history) not in (state["epoch"], state["epoch"] - 1) or state["best_epoch"] > len(history):
        raise ValueError(f"{len(history)} epochs in epoch {state['epoch']}")
    if state["epoch"] > trainer.epochs + 1 or state["lasted"].keys() != trainer.monitor.lasted.keys():
        raise ValueError("its epochs or warnings are others")
    if len(state["dead_for"]) != trainer.mixture.num_experts:
        raise ValueError(f"it has {len(state['dead_for'])} experts")
    if tensors["seen"].dim() != 2 or tensors["seen"].shape[1] != 2 or len(tensors["seen"]) > state["batches"]:
        raise ValueError("its losses have another shape")
    if _form(tensors["statistics"]) != _form(trainer.statistics.sums):
        raise ValueError("its gate statistics have another shape")
    weights = _forms(trainer.mixture.state_dict())
    if _forms(checkpoint.part("mixture")) != weights or _forms(checkpoint.part("best")) not in ({}, weights):
        raise ValueError("its weights have other names, shapes or types")
    if _forms(checkpoint.part("objective")) != _forms(trainer.objective.state_dict()):
        raise ValueError("the state of its objective has other names, shapes or types")
    parameters = [p for group in trainer.train_step.optimiser.param_groups for p in group["params"]]
    for name, value in checkpoint.part("optimiser").items():
        index, _, what = name.partition(".")
        own = parameters[int(index)]
        if _form(value) != (_form(own) if what != "step" else (torch.Size([]), torch.float32)):
            raise ValueError(f"the optimiser's {name} has another shape or type")


def _form(tensor: Tensor) -> tuple[torch.Size, torch.dtype]:
    return tensor.shape, tensor.dtype


def _forms(tensors: dict[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: _form(tensor) for name, tensor in tensors.items()}


def _restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    whole = optimiser.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, what = name.partition(".")
        state.setdefault(int(index), {})[what] = value
    optimiser.load_state_dict({"state": state, "param_groups": whole["param_groups"]})
