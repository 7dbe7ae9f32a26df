"""Data parallel steps: the rows of every micro-batch that a process has, and the sums over all of them."""

from typing import NamedTuple

import torch
from torch import Tensor

from gatewise.distributed import GradientSync, Group, MicroBatch
from gatewise.errors import GatewiseError
from gatewise.metrics.gate import GateStatistics
from gatewise.mixture import MixtureOfExperts
from gatewise.objectives import Objective


class Piece(NamedTuple):
    """This process's part of a micro-batch, and its rows.

    Attributes:
        part: where the rows are in the batch.
        x: `[B, ...]`.
        y: `[B]`.
        assignment: of the warm start, `[B]`, or None.
        weight: of the rows, `[B]`, or None.
    """

    part: MicroBatch
    x: Tensor
    y: Tensor
    assignment: Tensor | None
    weight: Tensor | None


def pieces_of(columns: tuple[Tensor, Tensor, Tensor | None, Tensor | None], parts: list[MicroBatch]) -> list[Piece]:
    """A process's rows (x, y, assignment, weight) of a batch, cut into those of its parts."""
    cut = [part.rows for part in parts]
    x, y, *besides = columns
    optional = ([None] * len(cut) if each is None else each.split(cut) for each in besides)
    return [Piece(*each) for each in zip(parts, x.split(cut), y.split(cut), *optional, strict=True)]


def gradient_sync(mixture: MixtureOfExperts, objective: Objective, group: Group) -> GradientSync | None:
    """What puts the gradients of the processes together; None where there is one.

    Raises:
        GatewiseError: for an estimator that several processes cannot have, or experts that others hold.
    """
    if group.size == 1 and not any(getattr(module, "collective", False) for module in mixture.modules()):
        return None
    for estimator in objective.estimators():
        if estimator.whole_batch:
            raise GatewiseError(
                f"estimator {estimator.name!r} with these options looks at a whole batch at once, which several "
                "processes do not have; train with one process, or choose other options"
            )
    return GradientSync([mixture, objective], group)


def over_all(copies: GradientSync, seen: Tensor, statistics: GateStatistics, objective: Objective) -> Tensor:
    """Make the gradients, the statistics, and what baselines hold, those of all processes, in one sum.

    Returns:
        The sum of `seen`.
    """
    names = ((module, name) for module in objective.modules() for name in getattr(module, "held_sums", ()))
    held = [getattr(module, name) for module, name in names]
    summed = seen

    def reduce(sums: Tensor) -> Tensor:
        nonlocal summed
        whole = copies.all_reduce(torch.cat([seen, sums.to(seen)]))
        summed = whole[: len(seen)]
        return whole[len(seen) :].to(sums)

    whole = statistics.reduce(reduce, *(each.reshape(1) for each in held))
    for each, value in zip(held, whole, strict=True):
        each.copy_(value[0])
    return summed
