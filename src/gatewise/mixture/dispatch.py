"""Dispatch: send each named (example, expert) pair to its expert, each once, and bring the outputs back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gatewise.expectation import first_asked


@dataclass(frozen=True)
class Dispatch:
    """N distinct (example, expert) pairs, sorted by expert.

    Attributes:
        rows: the example of each pair, int64 `[N]`.
        counts: how many pairs each expert has, K numbers that sum to N.
        slots: where each pair stands in the flattened index, int64 `[N]`.
        source: for every entry of the index, the draw whose value it takes, `[S, B]`.
    """

    rows: Tensor
    counts: Sequence[int]
    slots: Tensor
    source: Tensor

    @classmethod
    def plan(cls, index: Tensor, num_experts: int) -> "Dispatch":
        """Sort an index `[S, B]` (−1: not asked) once."""
        asked, source = first_asked(index)
        slots = asked.flatten().nonzero().squeeze(1)
        expert = index.flatten()[slots]
        expert, order = expert.sort(stable=True)
        slots = slots[order]
        counts = torch.bincount(expert, minlength=num_experts).tolist()
        return cls(slots % index.shape[1], counts, slots, source)

    def run(self, grouped: Callable[[Tensor, Sequence[int]], Tensor], x: Tensor) -> Tensor:
        """Outputs `[N, O]` of the experts on their rows of x `[B, ...]`."""
        return grouped(x[self.rows], self.counts)

    def combine(self, values: Tensor) -> Tensor:
        """Values `[N]` of the pairs as `[S, B]`; 0 where nothing was asked."""
        flat = torch.zeros(self.source.numel(), dtype=values.dtype, device=values.device)
        return flat.index_put((self.slots,), values).view_as(self.source).gather(0, self.source)
