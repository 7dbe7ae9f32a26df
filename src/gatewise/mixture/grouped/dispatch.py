"""Dispatch: send each named (example, expert) pair to its expert, each once, and bring the outputs back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gatewise.mixture.grouped.blocks import Blocks


@dataclass(frozen=True, eq=False)
class Dispatch:
    """N distinct (example, expert) pairs, sorted by expert, and by example within an expert.

    Where the experts take their rows in any order (`blocks`), the pairs stay in the order of the index: rows are moved
    once, not twice.

    Attributes:
        rows: the example of each pair, int64 `[N]`.
        counts: how many pairs each expert has, K numbers that sum to N.
        slots: where each pair stands first in the flattened index, int64 `[N]`.
        places: for every entry of the index, the pair whose value it takes, int64 `[S, B]`; -1 where nothing was asked.
        whole: whether every entry is a pair of its own: nothing unasked, nothing repeated, N = S B.
        blocks: the padded rows that the experts run on, placed for pairs in the order of the index; None where they
            take rows that are sorted.
    """

    rows: Tensor
    counts: Sequence[int]
    slots: Tensor
    places: Tensor
    whole: bool
    blocks: Blocks | None = None

    @classmethod
    def plan(
        cls,
        index: Tensor,
        num_experts: int,
        *,
        distinct: bool = False,
        cut: Callable[[Sequence[int]], Blocks | None] | None = None,
    ) -> "Dispatch":
        """Sort an index `[S, B]` (-1: not asked) once.

        Args:
            index: the experts that each example asks for, int64.
            num_experts: K.
            distinct: the caller's word that no example names an expert twice, which saves the search for repeats.
            cut: the blocks for so many rows of each expert, if rows in any order are welcome.
        """
        draws, examples = index.shape
        if draws == 1 or distinct:
            # stable, so that the rows of an expert stay in the order of the batch
            expert, order = index.reshape(-1).sort(stable=True)
            unasked, *counts = (expert + 1).bincount(minlength=num_experts + 1).tolist()
            slots = order[unasked:] if unasked else order
            whole = not unasked
            if whole and len(order) and cut is not None and (blocks := cut(counts)) is not None:
                return cls._in_place(index, expert, order, blocks)
            places = slots.new_empty(order.shape) if whole else slots.new_full(order.shape, -1)
            places.scatter_(0, slots, torch.arange(len(slots), device=slots.device))
        else:
            pair, order = _pairs(index).sort(stable=True)
            first = torch.ones_like(pair, dtype=torch.bool)
            torch.ne(pair[1:], pair[:-1], out=first[1:])
            expert = pair[first].div(max(examples, 1), rounding_mode="floor")
            unasked, *counts = (expert + 1).bincount(minlength=num_experts + 1).tolist()
            slots = order[first][unasked:]
            whole = len(slots) == len(order)
            number = (first.cumsum(0) - (1 + unasked)).clamp_min_(-1)
            places = torch.empty_like(order).scatter_(0, order, number)
        rows = slots if draws == 1 else slots % examples
        return cls(rows, counts, slots, places.view(draws, examples), whole)

    @classmethod
    def _in_place(cls, index: Tensor, expert: Tensor, order: Tensor, blocks: Blocks) -> "Dispatch":
        """A plan whose pairs are the entries as they stand; `expert` is sorted, by `order`."""
        slots = torch.arange(len(order), device=order.device)
        sorted_places = torch.tensor(blocks.shifts(), device=order.device).index_select(0, expert).add_(slots)
        places = torch.empty_like(order).scatter_(0, order, sorted_places)
        rows = slots if len(index) == 1 else slots % index.shape[1]
        return cls(rows, blocks.counts, slots, slots.view(index.shape), True, blocks.placed(places))

    def run(self, grouped: Callable[..., Tensor], x: Tensor) -> Tensor:
        """Outputs `[N, O]` of the experts on their rows of x `[B, ...]`.

        Args:
            grouped: `Experts.grouped`; it is told of blocks where there are any.
            x: the examples.
        """
        if self.blocks is None:
            return grouped(self.gather(x), self.counts)
        draws = len(self.places)
        return grouped(x if draws == 1 else x.repeat(draws, *[1] * (x.dim() - 1)), self.counts, self.blocks)

    def gather(self, x: Tensor) -> Tensor:
        """The rows of x `[B, ...]` that the pairs see, `[N, ...]`."""
        if _recorded(x):
            return _Gather.apply(x, self)
        return x.index_select(0, self.rows)

    def spread(self, values: Tensor) -> Tensor:
        """Values `[N, ...]` of the pairs as `[S, B, ...]`; 0 where nothing was asked."""
        shape = (*self.places.shape, *values.shape[1:])
        if self.blocks is not None:
            return values.view(shape)
        if self.whole:
            return permuted(values, self.places.view(-1), self.slots).view(shape)
        padded = torch.cat([values, values.new_zeros(1, *values.shape[1:])])
        return padded.index_select(0, self.places.view(-1) % len(padded)).view(shape)

    combine = spread


def permuted(values: Tensor, places: Tensor, slots: Tensor) -> Tensor:
    """values[places] `[N, ...]`, where `slots` is the inverse permutation, by which the gradient is gathered."""
    return _Permute.apply(values, places, slots) if _recorded(values) else values.index_select(0, places)


def _recorded(tensor: Tensor) -> bool:
    # the compiler, which cannot trace a function that is given a plan, has gradients of its own
    return torch.is_grad_enabled() and tensor.requires_grad and not torch.compiler.is_compiling()


def _pairs(index: Tensor) -> Tensor:
    """A number for each entry of an index `[S, B]`, ordered by expert, then by example; negative where unasked."""
    examples = index.shape[1]
    return torch.arange(examples, device=index.device).add(index, alpha=examples).reshape(-1)


class _Gather(torch.autograd.Function):
    """x[rows]; an example's gradient is added up over its pairs in the order of the draws, on every device."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, plan: Dispatch) -> Tensor:
        ctx.plan, ctx.shape = plan, x.shape
        return x.index_select(0, plan.rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,), plan = grads, ctx.plan
        if plan.whole:
            back = plan.spread(grad)
            return (back.squeeze(0) if len(back) == 1 else back.sum(0)), None
        return grad.new_zeros(ctx.shape).index_add(0, plan.rows, grad), None


class _Permute(torch.autograd.Function):
    """values[places], where `slots` is the inverse permutation: the gradient is gathered, not added."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, places: Tensor, slots: Tensor) -> Tensor:
        ctx.save_for_backward(places, slots)
        return values.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        places, slots = ctx.saved_tensors
        if torch.is_grad_enabled() and grads[0].requires_grad:
            return _Permute.apply(grads[0], slots, places), None, None
        return grads[0].index_select(0, slots), None, None
