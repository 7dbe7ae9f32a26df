"""Parts all of whose parameters are frozen: they rest in inference mode while what is around them trains."""

from collections.abc import Iterable, Sequence
from typing import Self

import torch
from torch import nn


def is_frozen(module: nn.Module) -> bool:
    """Whether the module has parameters, and every one has `requires_grad=False`.

    What `torch.func.functional_call` puts in their place says nothing about that.
    """
    found = None
    for found in module.parameters():
        if found.requires_grad or not isinstance(found, nn.Parameter):
            return False
    return found is not None


class Resting(nn.Module):
    """Base of modules that keep frozen parts in inference mode: their dropout is off, their statistics stand still.

    It follows `requires_grad` at `train()` and at each forward pass: a part that was frozen a moment ago rests, and one
    that is trained again is back in training mode, unless it was put into inference mode by somebody else. (Not in what
    `torch.compile` traces, where modes are constants: there it follows `train()`.)
    """

    _rested: Sequence[nn.Module] = ()

    def parts(self) -> Iterable[nn.Module]:
        """What can be frozen by itself."""
        raise TypeError(f"{type(self).__name__} does not define parts")

    def train(self, mode: bool = True) -> Self:
        """Set the mode, leaving frozen parts in inference mode."""
        super().train(mode)
        self._rested = ()
        self.rest_frozen()
        return self

    def rest_frozen(self) -> None:
        """Put parts that are frozen by now into inference mode, and those that no longer are back into training."""
        if not self.training or torch.compiler.is_compiling():
            return
        rested = []
        for part in self.parts():
            known = any(part is each for each in self._rested)
            if is_frozen(part):
                if part.training or known:
                    rested.append(part.eval())
            elif known:
                part.train()
        self._rested = rested
