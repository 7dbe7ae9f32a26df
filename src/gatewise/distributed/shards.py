"""Tensors of which each process of an axis has some experts: `DTensor`s, and the plain tensors in them."""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from gatewise.distributed.group import noticed
from gatewise.distributed.mesh import EXPERTS


def shard(whole: Tensor, mesh: DeviceMesh) -> DTensor:
    """A tensor `[K, ...]` of the first process as one of which each process along the axis of experts has its own.

    All processes give one of this shape.
    """
    with noticed():
        placed = distribute_tensor(whole.detach(), mesh, [Replicate(), Shard(0)]).to_local()
    return _sharded(placed.contiguous(), mesh[EXPERTS], whole)


def like(sharded: Tensor, own: Tensor) -> DTensor:
    """A tensor of which this process has `own`, as it has its part of another one."""
    assert isinstance(sharded, DTensor)
    return _sharded(own, sharded.device_mesh, sharded)


def _sharded(own: Tensor, axis: DeviceMesh, whole: Tensor) -> DTensor:
    return DTensor.from_local(own, axis, [Shard(0)], run_check=False, shape=whole.shape, stride=whole.stride())


def is_sharded(tensor: Tensor) -> bool:
    """Whether the process has only a part of it."""
    return isinstance(tensor, DTensor)


def local(tensor: Tensor) -> Tensor:
    """What this process has of a tensor, with its graph: all of a plain one."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def attached(outputs: Tensor, others: Iterable[Tensor]) -> Tensor:
    """The outputs, with tensors in their graph that they may not depend on: these have a gradient of 0, not None."""
    return outputs + torch.stack([other.flatten()[:0].sum().to(outputs.dtype) for other in others]).sum()


def first_expert(sharded: Tensor) -> int:
    """The expert whose part of a sharded tensor `[K, ...]` this process has first."""
    assert isinstance(sharded, DTensor)
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
    with noticed():
        dist.all_reduce(square, group=parts[0].device_mesh.get_group())
    return (norm.square() + square).sqrt()


@torch.no_grad()
def clip(parameters: Iterable[Tensor], most: float, norm: Tensor) -> None:
    """Scale all gradients so that their norm, as it was found, is at most so large."""
    every = [p for p in parameters if p.grad is not None]
    torch.nn.utils.clip_grads_with_norm_([p for p in every if not is_sharded(p)], most, norm)
    if parts := [local(p.grad) for p in every if is_sharded(p)]:
        torch._foreach_mul_(parts, (most / (norm + 1e-6)).clamp(max=1.0))
