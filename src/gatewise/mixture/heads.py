"""Heads: what the numbers that an expert puts out mean, as a likelihood."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from gatewise.errors import GatewiseError


class Head(Protocol):
    """p(y | outputs of one expert)."""

    def log_prob(self, outputs: Tensor, y: Tensor) -> Tensor:
        """log p(y), `[...]`, for outputs `[..., O]` and targets `[...]`."""
        ...

    def log_probs(self, outputs: Tensor) -> Tensor:
        """log p of every class, `[..., C]`."""
        ...


class Categorical:
    """Classes 0..C-1 with the outputs as logits; computed in float32 at least."""

    def log_prob(self, outputs: Tensor, y: Tensor) -> Tensor:
        """log p(y), `[...]`, for logits `[..., C]` and integer classes y `[...]`.

        Raises:
            GatewiseError: for classes that are not integers, or (on the CPU) not among the C.
        """
        last = outputs.shape[-1] - 1
        if y.is_floating_point() or y.dtype == torch.bool:
            raise GatewiseError(f"y must hold classes as integers 0 to {last}, got {y.dtype}; use .long()")
        # on an accelerator this look would wait for it
        if y.device.type == "cpu" and y.numel() and not 0 <= int(y.min()) <= int(y.max()) <= last:
            raise GatewiseError(f"y must hold classes from 0 to {last}, got {int(y.min())} to {int(y.max())}")
        return self.log_probs(outputs).gather(-1, y.long().unsqueeze(-1)).squeeze(-1)

    def log_probs(self, outputs: Tensor) -> Tensor:
        """log p of every class, `[..., C]`."""
        wide = outputs if outputs.dtype.itemsize >= 4 else outputs.float()
        return F.log_softmax(wide, dim=-1)
