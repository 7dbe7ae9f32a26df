"""Consecutive experts that are multiplied at once, each on its own rows: what keeps several threads busy.

A multiplication of few rows is too small to be shared among threads; several of them are not. So experts with about as
many rows as their neighbours make a block, and rows of zeros are added where one has fewer than the most of its block.
The rows with these zeros are called padded here, P of them.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

TALL = 256
"""Rows of one expert from which on its multiplications keep the threads busy by themselves."""

WASTE = 1.2
"""The most padded rows of a block, in units of its rows."""


@dataclass(frozen=True)
class Block:
    """Experts `first` to `first + number - 1`, with `height` padded rows each, from padded row `start` on."""

    first: int
    number: int
    start: int
    height: int

    @property
    def size(self) -> int:
        """Padded rows."""
        return self.number * self.height

    def of(self, rows: Tensor) -> Tensor:
        """Its part of padded rows `[P, D]`: `[height, D]` of one expert, `[number, height, D]` of several."""
        return self.shaped(rows if len(rows) == self.size else rows.narrow(0, self.start, self.size))

    def shaped(self, rows: Tensor) -> Tensor:
        """Its own padded rows, `[size, D]`, expert by expert where there are several."""
        return rows if self.number == 1 else rows.view(self.number, self.height, -1)

    def slice(self, stacked: Tensor) -> Tensor:
        """Its experts of a stack `[K, ...]`: `[...]` of one, `[number, ...]` of several."""
        if self.number == 1:
            return stacked[self.first]
        return stacked if self.number == len(stacked) else stacked.narrow(0, self.first, self.number)


class Blocks:
    """The experts that have rows, in blocks.

    Args:
        counts: rows of each expert, K numbers that sum to N.
        blocks: of all experts that have rows, in their order.

    Attributes:
        counts: as given.
        size: P.
        padded: whether there are rows of zeros.
        left_out: the experts in no block.
    """

    def __init__(self, counts: Sequence[int], blocks: Sequence[Block]):
        self.counts, self._blocks = list(counts), blocks
        self.size = sum(block.size for block in blocks)
        self.padded = self.size > sum(counts)
        there = {block.first + i for block in blocks for i in range(block.number)}
        self.left_out = [k for k in range(len(counts)) if k not in there] if len(there) < len(counts) else []

    @classmethod
    def cut(cls, counts: Sequence[int], most: int) -> "Blocks":
        """Blocks of `most` experts where few padded rows are wasted, and experts alone elsewhere; 1: all alone."""
        return cls(counts, list(_cut(counts, most)))

    @classmethod
    def stack(cls, counts: Sequence[int]) -> "Blocks":
        """One block of all experts, with or without rows."""
        return cls(counts, [Block(0, len(counts), 0, max(counts))])

    def __iter__(self) -> Iterator[Block]:
        return iter(self._blocks)

    @property
    def room(self) -> int:
        """Padded rows of the largest block."""
        return max((block.size for block in self._blocks), default=0)

    def pad(self, rows: Tensor) -> Tensor:
        """Rows `[N, D]` sorted by expert as padded rows `[P, D]`."""
        if not self.padded:
            return rows
        return rows.new_zeros(self.size, rows.shape[1]).index_copy_(0, self.places.to(rows.device), rows)

    def unpad(self, rows: Tensor) -> Tensor:
        """The rows `[N, D]` of padded ones."""
        return rows.index_select(0, self.places.to(rows.device)) if self.padded else rows

    def parts(self, rows: Tensor) -> list[Tensor]:
        """The rows of each of the K experts, of padded ones `[P, D]`."""
        return [rows.narrow(0, start, count) for start, count in zip(self._starts(), self.counts, strict=True)]

    def _starts(self) -> list[int]:
        starts = [0] * len(self.counts)
        for block in self._blocks:
            for i in range(block.number):
                starts[block.first + i] = block.start + i * block.height
        return starts

    def shifts(self) -> list[int]:
        """By how much the padded row of an expert's row is beyond the row."""
        before = itertools.accumulate(self.counts, initial=0)
        return [start - count for start, count in zip(self._starts(), before, strict=False)]

    @cached_property
    def places(self) -> Tensor:
        """The padded row of each row, int64 `[N]`."""
        each, rows = torch.tensor([self.shifts(), self.counts]), sum(self.counts)
        return torch.arange(rows).add_(each[0].repeat_interleave(each[1], output_size=rows))


def _cut(counts: Sequence[int], most: int) -> Iterator[Block]:
    start = first = 0
    while first < len(counts):
        group = counts[first : first + most]
        height = max(group)
        together = min(group) > 0 and height < TALL and len(group) * height <= WASTE * sum(group)
        if not together:
            group, height = group[:1], group[0]
        if height:
            yield Block(first, len(group), start, height)
        start += len(group) * height
        first += len(group)
