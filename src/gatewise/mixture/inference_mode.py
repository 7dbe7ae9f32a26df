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
