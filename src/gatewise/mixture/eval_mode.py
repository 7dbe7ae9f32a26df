"""Evaluation mode: of parts that are frozen while the rest trains, and of a module that is audited."""

import contextlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

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


class FrozenInEval(nn.Module):
    """Base of modules that keep frozen parts in evaluation mode: their dropout is off, their statistics stand still.

    It follows `requires_grad` at `train()` and at each forward pass: a part that was frozen a moment ago is put into
    evaluation mode, and one that is trained again is back in training mode, unless somebody else put it into evaluation
    mode. (Not in what `torch.compile` traces, where modes are constants: there it follows `train()`.)
    """

    _put_into_eval: Sequence[nn.Module] = ()

    @abstractmethod
    def freezable(self) -> Iterable[nn.Module]:
        """The parts that can be frozen, each by itself."""

    def train(self, mode: bool = True) -> Self:
        """Set the mode, leaving frozen parts in evaluation mode."""
        super().train(mode)
        self._put_into_eval = ()
        self.set_frozen_to_eval()
        return self

    def set_frozen_to_eval(self) -> None:
        """Put parts that are frozen by now into evaluation mode, and those that no longer are back into training."""
        if not self.training or torch.compiler.is_compiling():
            return
        put = []
        for part in self.freezable():
            known = any(part is each for each in self._put_into_eval)
            if is_frozen(part):
                if part.training or known:
                    put.append(part.eval())
            elif known:
                part.train()
        self._put_into_eval = put


@contextlib.contextmanager
def in_eval_mode(module: Any) -> Iterator[None]:
    """While this is open a module and all in it are in evaluation mode; each is then as it was."""
    modules = list(module.modules()) if isinstance(module, nn.Module) else []
    before = [each.training for each in modules]
    if modules:
        module.eval()
    try:
        yield
    finally:
        for each, mode in zip(modules, before, strict=True):
            each.training = mode
