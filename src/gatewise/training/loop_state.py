"""The whole state of a training loop between two steps, as a checkpoint, and back."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gatewise.errors import GatewiseError
from gatewise.training.checkpoints import Checkpoint, random_states, set_random_states

if TYPE_CHECKING:
    from gatewise.training.loop import Loop


def capture(loop: "Loop") -> Checkpoint:
    """Everything that the steps to come depend on: weights, optimiser, estimator, random states, place in the epoch."""
    trainer, result, health, reseeding = loop.trainer, loop.result, loop.health, loop.reseeding
    tensors = {f"mixture.{name}": value for name, value in loop.mixture.state_dict().items()}
    tensors |= {f"objective.{name}": value for name, value in loop.objective.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in loop.best.items()}
    for index, state in trainer.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
    tensors |= {f"random.{name}": value for name, value in random_states(trainer.device).items()}
    tensors["order"] = trainer.order_before
    tensors["noise"] = trainer.generator.get_state()
    tensors["reseeding"] = reseeding.generator.get_state()
    tensors["seen"] = torch.stack(loop.seen) if loop.seen else torch.zeros(0, 2)
    tensors["statistics"] = loop.statistics.sums
    state = {
        "epoch": loop.epoch,
        "batches": len(loop.seen),
        "rows": loop.statistics.rows,
        "history": result.history,
        "best_epoch": result.best_epoch,
        "best_nll": loop.best_nll if math.isfinite(loop.best_nll) else None,
        "warnings": result.warnings,
        "reseeded": result.reseeded,
        "said": sorted(health.said),
        "lasted": health.lasted,
        "most_used": health.most_used,
        "dead_for": reseeding.dead_for,
        "threads": torch.get_num_threads(),
        "device": str(trainer.device.type),
        "torch": torch.__version__,
        "processes": loop.group.size,
    }
    # copies, as training goes on while nobody has written them yet, and safetensors takes no shared memory
    return Checkpoint(trainer.step, {name: value.detach().cpu().clone() for name, value in tensors.items()}, state)


def restore(loop: "Loop", checkpoint: Checkpoint) -> list[str]:
    """Put a loop that has not begun where the checkpoint was; returns what is to be said about it.

    Raises:
        GatewiseError: if the checkpoint is of another model or training.
    """
    trainer, result, health, reseeding, state = loop.trainer, loop.result, loop.health, loop.reseeding, checkpoint.state
    device = trainer.device
    try:
        loop.mixture.load_state_dict(checkpoint.part("mixture"))
        loop.objective.load_state_dict(checkpoint.part("objective"))
        _restore_optimiser(trainer.optimiser, checkpoint.part("optimiser"))
        loop.best = {name: value.to(device) for name, value in checkpoint.part("best").items()}
        trainer.step = checkpoint.step
        trainer.order.set_state(checkpoint.tensors["order"])
        trainer.generator.set_state(checkpoint.tensors["noise"])
        reseeding.generator.set_state(checkpoint.tensors["reseeding"])
        loop.epoch, loop.done = state["epoch"], state["batches"]
        loop.seen = list(checkpoint.tensors["seen"].to(device).unbind(0))
        loop.statistics.restore(checkpoint.tensors["statistics"].to(device), state["rows"])
        result.history, result.best_epoch = state["history"], state["best_epoch"]
        loop.best_nll = math.inf if state["best_nll"] is None else state["best_nll"]
        result.warnings, result.reseeded = state["warnings"], state["reseeded"]
        health.said, health.lasted, health.most_used = set(state["said"]), state["lasted"], state["most_used"]
        reseeding.dead_for = state["dead_for"]
        set_random_states(checkpoint.part("random"), device)
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise GatewiseError(f"the checkpoint of step {checkpoint.step} is of another training ({reason})") from None
    # what older checkpoints do not tell was 1
    now = {"threads": torch.get_num_threads(), "device": device.type, "torch": torch.__version__}
    now["processes"], before = loop.group.size, {"processes": 1, **state}
    changed = [f"{name} {now[name]} instead of {before.get(name)}" for name in now if now[name] != before.get(name)]
    if not changed:
        return []
    return [f"training goes on with {', '.join(changed)}: its numbers are no longer those to the bit"]


def _restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    whole = optimiser.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, what = name.partition(".")
        state.setdefault(int(index), {})[what] = value
    optimiser.load_state_dict({"state": state, "param_groups": whole["param_groups"]})
