"""A drawn category with the derivative of softmaxes: what all straight-through estimators come to."""

from typing import Any

import torch
from torch import Tensor

from gatewise.estimators.base import one_hot


def corner_with_jacobians(logits: Tensor, index: Tensor, *terms: tuple[float, Tensor]) -> Tensor:
    """e_index, `[S, *batch, K]`, whose derivative for the logits is Σ c J(p) over the terms (c, p).

    J(p) = diag p - p pᵀ, the derivative of a softmax that comes to p.

    Args:
        logits: `[*batch, K]`; the point has their type.
        index: int64 `[S, *batch]`.
        terms: c, and p `[S, *batch, K]`, or `[M, S, *batch, K]`, of which the mean over M is taken; held constant, and
            kept in their own type, which may be wider than the logits'.
    """
    scales = tuple(scale for scale, _ in terms)
    return _Corner.apply(logits.expand(*index.shape, logits.shape[-1]), index, scales, *(p for _, p in terms))


class _Corner(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, index: Tensor, scales: tuple[float, ...], *probs: Tensor) -> Tensor:
        return one_hot(index, logits)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, _, ctx.scales, *probs = inputs
        ctx.save_for_backward(*probs)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        total: Tensor | float = 0.0
        for scale, probs in zip(ctx.scales, ctx.saved_tensors, strict=True):
            weighed = probs * slope
            term = weighed - probs * weighed.sum(-1, keepdim=True)
            total = total + scale * (term if term.dim() == slope.dim() else term.mean(0))
        return total.to(slope.dtype), None, None, *[None] * len(ctx.scales)
