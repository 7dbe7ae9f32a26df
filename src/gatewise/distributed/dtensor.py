"""Tensors of which each process of an axis has some experts: `DTensor`s, and the plain tensors in them.

Every training asks whether it has such tensors. torch's own module of them takes a second to import, so it is not
imported here: a tensor that can say what is local is one.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeGuard

import torch
import torch.distributed as dist
from torch import Tensor

from gatewise.distributed.group import lost_process_errors

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def is_sharded(tensor: Tensor) -> "TypeGuard[DTensor]":
    """Whether the process has only a part of it."""
    return hasattr(tensor, "to_local")


def local(tensor: Tensor) -> Tensor:
    """What this process has of a tensor, with its graph: all of a plain one."""
    return tensor.to_local() if is_sharded(tensor) else tensor


def like(sharded: Tensor, own: Tensor) -> "DTensor":
    """A tensor of which this process has `own`, as it has its part of another one."""
    assert is_sharded(sharded)
    axis, placements = sharded.device_mesh, sharded.placements
    return type(sharded).from_local(
        own, axis, placements, run_check=False, shape=sharded.shape, stride=sharded.stride()
    )


def first_expert(sharded: Tensor) -> int:
    """The expert whose part of a sharded tensor `[K, ...]` this process has first."""
    assert is_sharded(sharded)
    axis = sharded.device_mesh
    each = -(-len(sharded) // axis.size())
    return min(each * axis.get_local_rank(), len(sharded))


@torch.no_grad()
def total_norm(gradients: Iterable[Tensor]) -> Tensor:
    """The norm of all gradients together, a scalar, the same on all processes that they are spread over."""
    every = list(gradients)
    parts = [each for each in every if is_sharded(each)]
    norm = torch.nn.utils.get_total_norm([each for each in every if not is_sharded(each)])
    if not parts:
        return norm
    square = torch.nn.utils.get_total_norm([local(each) for each in parts]).square()
    with lost_process_errors():
        dist.all_reduce(square, group=parts[0].device_mesh.get_group())
    return (norm.square() + square).sqrt()


@torch.no_grad()
def clip(parameters: Iterable[Tensor], most: float, norm: Tensor) -> None:
    """Scale all gradients so that their norm, as it was found, is at most so large."""
    every = [p for p in parameters if p.grad is not None]
    torch.nn.utils.clip_grads_with_norm_([p for p in every if not is_sharded(p)], most, norm)
    if parts := [local(p.grad) for p in every if is_sharded(p) and p.grad is not None]:
        torch._foreach_mul_(parts, (most / (norm + 1e-6)).clamp(max=1.0))
