"""Memory that is used again from step to step, once nobody holds it any more."""

import math
import threading
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

KEPT = 2
"""Blocks kept for one purpose: where a gradient is accumulated, one is held by `.grad` while the next is written."""

SMALL = 2**18
"""Bytes below which a block is not worth keeping."""

_holders = getattr(torch._C, "_storage_Use_Count", None)


class BufferPool:
    """Tensors without content, in blocks of memory that are kept and given out again.

    A fresh block of many megabytes comes from the system page by page, at each step, and that costs more than writing
    it. A block is given out again only when no tensor uses it any more: not a view, not a NumPy array, not a graph.
    So what is handed to autograd, or ends up as `.grad`, is safe for as long as anyone has it.

    Copies and pickles of it are empty; `release` empties it. Where torch does not say how many hold a block, every
    request is answered by fresh memory.
    """

    def __init__(self) -> None:
        self._blocks: dict[Hashable, list[torch.UntypedStorage]] = {}
        self._lock = threading.Lock()

    def take(self, purpose: Hashable, shape: Sequence[int], like: Tensor) -> Tensor:
        """An uninitialised contiguous tensor of this shape, with the type and device of `like`."""
        size = math.prod(shape) * like.dtype.itemsize
        if _holders is None or size < SMALL:
            return like.new_empty(shape)
        with self._lock:  # two backward passes may run in two threads
            blocks = self._blocks.setdefault(purpose, [])
            for block in blocks:
                if block.device == like.device and size <= block.nbytes() <= 2 * size and _holders(block._cdata) == 1:
                    return _tensor(block, shape, like)
            fresh = torch.UntypedStorage(size, device=like.device)
            blocks[:] = [fresh, *blocks][:KEPT]
            return _tensor(fresh, shape, like)

    def release(self) -> None:
        """Give back all memory that nobody holds."""
        with self._lock:
            self._blocks.clear()

    def __deepcopy__(self, memo: dict[int, Any]) -> "BufferPool":
        return BufferPool()

    def __reduce__(self) -> tuple[type["BufferPool"], tuple[()]]:
        return BufferPool, ()


def _tensor(block: torch.UntypedStorage, shape: Sequence[int], like: Tensor) -> Tensor:
    return torch.empty(0, dtype=like.dtype, device=like.device).set_(block, 0, tuple(shape))  # type: ignore[arg-type]
