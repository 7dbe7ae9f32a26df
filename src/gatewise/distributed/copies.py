"""The copies of a model that processes hold, and their gradients put together."""

import torch
from torch import Tensor, nn

from gatewise.distributed.group import Group


class Copies:
    """The copies of a model that the processes hold, which get one and the same gradient.

    The gradients of all parameters travel as one tensor, once the last of them is there. On a CPU there is nothing to
    gain by sending some while others are computed, since both want the same cores, and what a small model's step waits
    for is mostly the number of calls; `benchmarks/scaling.py` has torch's `DistributedDataParallel` beside it.

    Args:
        parts: the modules that have parameters to train; made equal on all processes to those of the first.
        group: the processes.
    """

    def __init__(self, parts: list[nn.Module], group: Group):
        self.group = group
        whole = nn.ModuleList(parts)
        self.parameters = [p for p in whole.parameters() if p.requires_grad]
        for tensor in (*whole.parameters(), *whole.buffers()):
            group.take_first(tensor.detach())

    @torch.no_grad()
    def add_up(self, besides: Tensor) -> Tensor:
        """Make each gradient its sum over the processes; None stays where it is None on all of them.

        Args:
            besides: a vector to sum along with them.

        Returns:
            Its sum.
        """
        # an expert that no row was sent to has no gradient, on one process or on all: whether it has one is summed too
        grads = [p.grad for p in self.parameters]
        there = besides.new_tensor([float(grad is not None) for grad in grads])
        pieces = [torch.zeros_like(p) if g is None else g for p, g in zip(self.parameters, grads, strict=True)]
        whole = torch.cat([piece.reshape(-1) for piece in (*pieces, there, besides)])
        self.group.add_up(whole)
        *summed, there, last = whole.split([*(p.numel() for p in self.parameters), len(there), len(besides)])
        for parameter, part, count in zip(self.parameters, summed, there.tolist(), strict=True):
            parameter.grad = _as(parameter, part) if count else None
        return last.to(besides.dtype, copy=True)  # a view would keep all gradients for as long as it is kept


def _as(parameter: Tensor, flat: Tensor) -> Tensor:
    """Numbers in the type, shape and memory layout of a parameter."""
    shaped = flat.to(parameter.dtype).view(parameter.shape)
    return shaped if parameter.is_contiguous() else torch.empty_like(parameter).copy_(shaped)
