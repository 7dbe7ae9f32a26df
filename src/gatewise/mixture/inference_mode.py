"""Modules in inference mode while they are audited."""

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn


@contextlib.contextmanager
def resting(module: Any) -> Iterator[None]:
    """While this is open a module and all in it are in inference mode; each is then as it was."""
    modules = list(module.modules()) if isinstance(module, nn.Module) else []
    before = [each.training for each in modules]
    if modules:
        module.eval()
    try:
        yield
    finally:
        for each, mode in zip(modules, before, strict=True):
            each.training = mode


def resting_notes(module: nn.Module) -> list[str]:
    """What inference mode switches off."""
    modules = list(module.modules())
    rates = [getattr(m, "p", 0.0) for m in modules if isinstance(m, nn.modules.dropout._DropoutNd)]
    rates += [m.dropout for m in modules if isinstance(getattr(m, "dropout", None), float)]
    said = ["dropout is off"] if any(rates) else []
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in modules):
        said.append("batch normalisation uses its running statistics")
    if not said:
        return []
    return [f"The model is in inference mode: {' and '.join(said)}. Training adds noise of its own to what is shown."]
