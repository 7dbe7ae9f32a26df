"""A batch cut into micro-batches, and each of those into the shares of the processes; and their gradients put together.

The loss of a whole batch is Σ (rows of a part / rows of the batch) · loss of the part, for micro-batches and processes
alike, so that both are parts of one and the same sum.
"""

import contextlib
import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gatewise.distributed.group import Group
from gatewise.errors import GatewiseError


@dataclass(frozen=True)
class MicroBatch:
    """One process's part of a micro-batch.

    Attributes:
        start: where it begins in the whole batch.
        first: where it begins in the micro-batch.
        rows: how many it has.
        total: rows of the micro-batch over all processes.
    """

    start: int
    first: int
    rows: int
    total: int


def micro_batches(rows: int, pieces: int, group: Group) -> list[MicroBatch]:
    """The parts of a batch of so many rows, cut into at most `pieces` micro-batches as `Tensor.chunk` cuts.

    Raises:
        GatewiseError: if a process would have no row.
    """
    size = -(-rows // pieces)
    totals = [min(size, rows - start) for start in range(0, rows, size)]
    if min(totals) < group.size:
        raise GatewiseError(
            f"a step on {rows} rows in {len(totals)} micro-batch{'es' * (len(totals) > 1)} does not give each of the "
            f"{group.size} processes a row; take fewer processes, or a larger batch_size"
        )
    parts = []
    for i, total in enumerate(totals):
        first, count = group.share(total)
        parts.append(MicroBatch(i * size + first, first, count, total))
    return parts


BUFFERS = (
    "forward_sync_buffers"
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    else "broadcast_buffers"
)
"""The option that has the first process's buffers sent around at each step; its name differs with torch's version."""


class Copies:
    """The copies of a model that the processes hold, which get one and the same gradient.

    Args:
        parts: the modules that have parameters to train; made equal on all processes to those of the first.
        group: the processes.
    """

    def __init__(self, parts: list[nn.Module], group: Group):
        self.size = group.size
        # experts that no row was sent to have no gradient, on one process or on all
        options: dict[str, Any] = {"process_group": group.handle, "find_unused_parameters": True, BUFFERS: False}
        self.wrapped = DistributedDataParallel(_Parts(parts), **options)
        # said of a matrix with one row, whose memory is the same either way
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")

    def backward(self, loss: Callable[[], Tensor], last: bool) -> None:
        """Add the gradient of a loss of this process; with the last of a step, sum those of all processes."""
        with contextlib.nullcontext() if last else self.wrapped.no_sync():
            # the mean over the processes is taken of it
            (self.wrapped(loss) * self.size).backward()


class _Parts(nn.Module):
    """What `DistributedDataParallel` wraps: its forward pass is whatever it is given to compute."""

    def __init__(self, parts: list[nn.Module]):
        super().__init__()
        self.parts = nn.ModuleList(parts)
        # has no gradient in any step: torch warns at the first where it finds none such
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, compute: Callable[[], Tensor]) -> Tensor:
        return compute()
