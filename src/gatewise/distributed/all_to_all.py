"""Rows that travel between processes, there and back, and their gradients the other way."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from gatewise.distributed.group import lost_process_errors
from gatewise.mixture.grouped.dispatch import permuted


def exchange(rows: Tensor, sent: Sequence[int], received: Sequence[int], handle: dist.ProcessGroup) -> Tensor:
    """What every process of a group sends to this one, one after another; differentiable, any number of times.

    All of them call this together, and run backward through it together: where the result of one requires a gradient,
    that of all must.

    Args:
        rows: `[N, ...]`, those for the first process first.
        sent: how many of them go to each process.
        received: how many come from each.
        handle: the group.

    Returns:
        `[M, ...]`, M the sum of `received`.
    """
    return _Exchange.apply(rows, list(sent), list(received), handle)


class _Exchange(torch.autograd.Function):
    """An all-to-all; its gradient is the one back."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sent: list[int], received: list[int], handle: dist.ProcessGroup) -> Tensor:
        ctx.sent, ctx.received, ctx.handle = sent, received, handle
        there = rows.new_empty(sum(received), *rows.shape[1:])
        with lost_process_errors():
            dist.all_to_all_single(there, rows.contiguous(), received, sent, group=handle)
        return there

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        return _Exchange.apply(grads[0], ctx.received, ctx.sent, ctx.handle), None, None, None


@dataclass(frozen=True)
class Arrivals:
    """Rows that came from P processes, those of each sorted by expert.

    Attributes:
        counts: of each process, how many rows it has for each of E experts.
    """

    counts: list[list[int]]

    @property
    def of_experts(self) -> list[int]:
        """How many rows each expert has."""
        return [sum(column) for column in zip(*self.counts, strict=True)]

    @property
    def of_processes(self) -> list[int]:
        """How many rows came from each process."""
        return [sum(row) for row in self.counts]

    def sort(self, rows: Tensor) -> Tensor:
        """The rows `[N, ...]` sorted by expert, and by process within an expert."""
        order, back = (each.to(rows.device) for each in self._orders)
        return permuted(rows, order, back)

    def unsort(self, rows: Tensor) -> Tensor:
        """Rows `[N, ...]` that are sorted by expert as they came."""
        order, back = (each.to(rows.device) for each in self._orders)
        return permuted(rows, back, order)

    @cached_property
    def _orders(self) -> tuple[Tensor, Tensor]:
        """Where each row of the sorted ones came, and the inverse, int64 `[N]`."""
        blocks = torch.tensor(self.counts, dtype=torch.int64).view(len(self.counts), -1)
        first = (blocks.flatten().cumsum(0).view_as(blocks) - blocks).T.flatten()
        lengths = blocks.T.flatten()
        before = lengths.cumsum(0) - lengths
        places = torch.arange(int(lengths.sum()))
        order = places + (first - before).repeat_interleave(lengths)
        return order, torch.empty_like(order).scatter_(0, order, places)
