"""Consecutive experts that are multiplied at once, each on its own rows: what keeps several threads busy.

A multiplication of few rows is too small to be shared among threads; several of them are not. So experts with about as
many rows as their neighbours make a block, and rows of zeros are added where one has fewer than the most of its block.
The rows with these zeros are called padded here, P of them.
"""

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
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
        stacked: whether they are one block of all experts, whatever their rows.

    Attributes:
        counts: as given.
        size: P.
        padded: whether there are rows of zeros.
        moved: whether padded rows are others than the rows, or in another order.
        stacked: as given.
    """

    def __init__(self, counts: Sequence[int], blocks: Sequence[Block], stacked: bool = False):
        self.counts, self._blocks, self.stacked = list(counts), blocks, stacked
        self.size = sum(block.size for block in blocks)
        self.padded = self.moved = self.size > sum(counts)

    @classmethod
    def cut(cls, counts: Sequence[int], most: int) -> "Blocks":
        """Blocks of `most` experts where few padded rows are wasted, and experts alone elsewhere; 1: all alone."""
        return cls(counts, list(_cut(counts, most)))

    @classmethod
    def stack(cls, counts: Sequence[int]) -> "Blocks":
        """One block of all experts, with or without rows."""
        return cls(counts, [Block(0, len(counts), 0, max(counts))], stacked=True)

    def placed(self, places: Tensor) -> "Blocks":
        """The same blocks for rows in another order than by expert: row i is padded row places[i], int64 `[N]`."""
        other = copy.copy(self)
        other.__dict__["places"], other.moved = places, True
        return other

    def __iter__(self) -> Iterator[Block]:
        return iter(self._blocks)

    @cached_property
    def left_out(self) -> list[int]:
        """The experts in no block."""
        there = {block.first + i for block in self._blocks for i in range(block.number)}
        return [k for k in range(len(self.counts)) if k not in there] if len(there) < len(self.counts) else []

    @property
    def room(self) -> int:
        """Padded rows of the largest block."""
        return max((block.size for block in self._blocks), default=0)

    def pad(self, rows: Tensor, into: Callable[[Sequence[int]], Tensor]) -> Tensor:
        """Rows `[N, D]` as padded rows `[P, D]`, in memory from `into`."""
        if not self.moved:
            return rows
        padded = into((self.size, rows.shape[1]))
        if self.padded:
            padded.zero_()
        return padded.index_copy_(0, self.places.to(rows.device), rows)

    def unpad(self, rows: Tensor) -> Tensor:
        """The rows `[N, D]` of padded ones."""
        return rows.index_select(0, self.places.to(rows.device)) if self.moved else rows

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
        """The padded row of each row, int64 `[N]`; rows are sorted by expert but in `placed` blocks."""
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
