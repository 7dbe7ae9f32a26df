"""Masks that keep an expert's answers, be they NaN, out of values and gradients: a product with 0 would not."""

from collections.abc import Iterable

import torch
from torch import Tensor


def unmasked(possible: Tensor, answers: Tensor) -> Tensor:
    """Answers `[B, K, ...]` of experts, 0 where one is not `possible`, bool `[B, K]`: there they may be anything."""
    return torch.where(possible.view(*possible.shape, *[1] * (answers.dim() - 2)), answers, 0.0)


def chosen(possible: Tensor) -> Tensor:
    """The numbers of the experts that are `possible`, bool `[B, K]`, as a dispatch asks for them: `[K, B]`, else -1."""
    return torch.where(possible, torch.arange(possible.shape[1], device=possible.device), -1).T


def without_gradient(masked: Tensor, x: Tensor) -> Tensor:
    """x, whose gradient is 0 where `masked`, also where what comes back is NaN."""
    return torch.where(masked, x.detach(), x) if x.requires_grad and torch.is_grad_enabled() else x


def attached(outputs: Tensor, others: Iterable[Tensor]) -> Tensor:
    """The outputs, with tensors in their graph that they may not depend on: these have a gradient of 0, not None."""
    return outputs + torch.stack([other.flatten()[:0].sum().to(outputs.dtype) for other in others]).sum()


def blind(tensor: Tensor) -> bool:
    """Whether nobody can look at values: in a graph that is compiled, under a transform of `torch.func`, on "meta"."""
    if torch.compiler.is_compiling() or tensor.device.type == "meta":
        return True
    # torch.func has no public question for this: `bool(tensor)` under vmap raises instead of answering
    return torch._C._functorch.peek_interpreter_stack() is not None
