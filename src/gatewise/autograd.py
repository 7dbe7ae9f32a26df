"""Autograd functions with a derivative forward as well as backward."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def both_ways(function: Any) -> Callable[..., Tensor]:
    """`function.apply`, with `along` as its derivative forward; not in what is compiled, where torch takes none."""
    forward: Any = type(function.__name__, (function,), {"jvp": staticmethod(function.along)})
    return lambda *inputs: (function if torch.compiler.is_compiling() else forward).apply(*inputs)


def keep(ctx: Any, *tensors: Tensor) -> None:
    """Save tensors for derivatives of either kind."""
    ctx.save_for_backward(*tensors)
    ctx.save_for_forward(*tensors)
