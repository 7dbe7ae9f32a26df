"""Heads: what the numbers that an expert puts out mean, as a likelihood."""

from typing import Protocol

import torch
from torch import Tensor

from gatewise.errors import GatewiseError
from gatewise.mixture.likelihoods import log_softmax


class Head(Protocol):
    """p(y | outputs of one expert)."""

    def log_prob(self, outputs: Tensor, y: Tensor) -> Tensor:
        """log p(y), `[...]`, for outputs `[..., O]` and targets `[...]`."""
        ...

    def log_probs(self, outputs: Tensor) -> Tensor:
        """log p of every class, `[..., C]`."""
        ...


class Categorical:
    """Classes 0..C-1 with the outputs as logits; computed in float32 at least.

    log p and its slopes are right to 1e-5 of their own size, also where p is within 1e-30 of 1; what is smaller than
    float32's least normal number, 1.2e-38, to that.
    """

    def log_prob(self, outputs: Tensor, y: Tensor) -> Tensor:
        """log p(y), `[...]`, for logits `[..., C]` and integer classes y `[...]`.

        Raises:
            GatewiseError: for classes that are not integers, or not among the C; on an accelerator, where that look
                would wait for it, these have -inf.
        """
        self.check(y, outputs.shape[-1])
        known = y.long().clamp(0, outputs.shape[-1] - 1)
        found = self.log_probs(outputs).gather(-1, known.unsqueeze(-1)).squeeze(-1)
        return found if can_look(y) else torch.where(known == y, found, -torch.inf)

    def log_probs(self, outputs: Tensor) -> Tensor:
        """log p of every class, `[..., C]`."""
        return log_softmax(outputs if outputs.dtype.itemsize >= 4 else outputs.float())

    def check(self, y: Tensor, classes: int | None = None) -> None:
        """Refuse targets that are no class.

        Raises:
            GatewiseError: with what would be right.
        """
        last = "" if classes is None else f" to {classes - 1}"
        if y.is_floating_point() or y.dtype == torch.bool:
            raise GatewiseError(f"y must hold classes as integers 0{last or ', 1, …'}, got {y.dtype}; use .long()")
        if can_look(y) and not 0 <= int(y.min()) <= int(y.max()) < (classes or torch.inf):
            raise GatewiseError(f"y must hold classes from 0{last}, got {int(y.min())} to {int(y.max())}")


def can_look(y: Tensor) -> bool:
    """Whether values can be looked at: there are some, on the CPU, in no graph that is compiled and under no vmap."""
    if y.device.type != "cpu" or not y.numel():
        return False
    return not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is None
