"""Working precision: sums, means and states are computed in more digits than 16-bit types have.

In bfloat16 a sum over outcomes is off by 1 %, a difference of values near 100 by .5, and a mean that moves in small
steps stands still.
"""

from collections.abc import Callable
from typing import ClassVar, Self

import torch
from torch import Tensor, nn


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type to compute in: float64 for float64, float32 for everything narrower."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def widened(tensor: Tensor) -> Tensor:
    """The tensor in its working type."""
    # a call of .to that changes nothing still costs as much as a small operation
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.to(torch.float32)


class WideState(nn.Module):
    """A module whose own buffers stay in float32 at least, whatever the model is cast to; those within it are cast.

    Attributes:
        wide_parameters: names of parameters that stay too, as they move in steps that 16 bits would lose.
    """

    wide_parameters: ClassVar[tuple[str, ...]] = ()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        kept = (*self._buffers, *self.wide_parameters)
        before = {name: held.detach() for name in kept if (held := getattr(self, name)) is not None}
        super()._apply(fn, recurse)
        for name, old in before.items():
            new = getattr(self, name)
            if new.is_floating_point() and new.dtype.itemsize < 4:
                new.data = old.to(new.device, torch.float32)
        return self
