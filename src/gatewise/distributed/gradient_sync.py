"""The copies of a model that processes hold, and their gradients put together."""

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gatewise.distributed.dtensor import is_sharded, like, local
from gatewise.distributed.group import Group, lost_process_errors
from gatewise.errors import GatewiseError
from gatewise.mixture.grouped.buffers import BufferPool


class GradientSync:
    """The copies of a model that the processes hold, which get one and the same gradient.

    The gradients of all parameters travel as one tensor, once the last of them is there. On a CPU there is nothing to
    gain by sending some while others are computed, since both want the same cores, and what a small model's step waits
    for is mostly the number of calls; `benchmarks/scaling.py` has torch's `DistributedDataParallel` beside it.

    Experts that are spread (`shard_experts`) have copies on the processes along the data axis alone: those that they
    are spread over have sent them their rows already. Their gradients travel as a second tensor.

    Args:
        parts: the modules that have parameters to train; made equal on all processes to those of the first.
        group: the processes.

    Raises:
        GatewiseError: if experts are spread over other processes.
    """

    def __init__(self, parts: list[nn.Module], group: Group):
        self.group = group
        self._pool = BufferPool()  # a fresh block for all gradients would cost more than writing it
        whole = nn.ModuleList(parts)
        self.parameters = [p for p in whole.parameters() if p.requires_grad]
        self.banks: list[Any] = [module for module in whole.modules() if getattr(module, "collective", False)]
        for bank in self.banks:
            if bank.mesh.size() != group.size:
                raise GatewiseError(
                    f"the experts are spread over {bank.mesh.size()} processes, and {group.size} train; give fit the "
                    "group of gatewise.distributed.join_processes(…)"
                )
        for tensor in (*whole.parameters(), *whole.buffers()):
            if not is_sharded(tensor):
                group.broadcast(tensor.detach())

    @torch.no_grad()
    def all_reduce(self, besides: Tensor) -> Tensor:
        """Make each gradient its sum over the processes; None stays where it is None on all of them.

        Args:
            besides: a vector to sum along with them.

        Returns:
            Its sum.
        """
        # an expert that no row was sent to has no gradient, on one process or on all: whether it has one is summed too
        there = besides.new_tensor([float(p.grad is not None) for p in self.parameters])
        shared = [p for p in self.parameters if not is_sharded(p)]
        *summed, there, last = self._summed("shared", [*map(_gradient, shared), there, besides], self.group.all_reduce)
        spread = [p for p in self.parameters if is_sharded(p)]
        if spread:
            summed += self._summed("spread", [_gradient(p) for p in spread], self._over_replicas)
        counts = dict(zip(map(id, self.parameters), there.tolist(), strict=True))
        for parameter, part in zip([*shared, *spread], summed, strict=True):
            parameter.grad = _as(parameter, part) if counts[id(parameter)] else None
        return last.to(besides.dtype, copy=True)  # a view would keep all gradients for as long as it is kept

    def _summed(self, purpose: str, pieces: list[Tensor], all_reduce: Callable[[Tensor], None]) -> list[Tensor]:
        """The pieces, flat, after they have been summed as one tensor."""
        flat = [piece.reshape(-1) for piece in pieces]
        kind = functools.reduce(torch.promote_types, (piece.dtype for piece in flat))
        empty, size = flat[0].new_empty(0, dtype=kind), [sum(map(len, flat))]
        # elsewhere allocators keep memory themselves, and know of streams
        whole = self._pool.take(purpose, size, empty) if empty.device.type == "cpu" else empty.new_empty(size)
        torch.cat(flat, out=whole)
        all_reduce(whole)
        return list(whole.split([len(piece) for piece in flat]))

    def _over_replicas(self, tensor: Tensor) -> None:
        """Make a tensor its sum over the processes that hold the same experts."""
        if self.banks[0].mesh.size(0) > 1:
            with lost_process_errors():
                dist.all_reduce(tensor, group=self.banks[0].replicas)


def _gradient(parameter: Tensor) -> Tensor:
    """What this process has of a parameter's gradient; zeros where there is none."""
    return torch.zeros_like(local(parameter)) if parameter.grad is None else local(parameter.grad)


def _as(parameter: Tensor, flat: Tensor) -> Tensor:
    """Numbers in the type, shape and memory layout of a parameter."""
    own = local(parameter)
    shaped = flat.to(own.dtype).view(own.shape)
    shaped = shaped if own.is_contiguous() else torch.empty_like(own).copy_(shaped)
    return like(parameter, shaped) if is_sharded(parameter) else shaped
