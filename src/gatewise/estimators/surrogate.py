"""Surrogate gradients: a drawn category with the derivative of softmaxes, as all straight-through estimators have."""

import inspect
from typing import Any

import torch
from torch import Tensor

from gatewise.autograd import both_ways, keep
from gatewise.precision import widened


def with_jacobians(corner: Tensor, logits: Tensor, *terms: tuple[float, Tensor]) -> Tensor:
    """The corner, `[S, *batch, K]`, with the derivative Σ c J(p) for the logits, over the terms (c, p).

    J(p) = diag p - p pᵀ, the derivative of a softmax that comes to p.

    Args:
        corner: one-hot, in the logits' type.
        logits: `[*batch, K]`.
        terms: c, and p `[S, *batch, K]`, or `[M, S, *batch, K]`, of which the mean over M is taken; held constant, and
            kept in their own type, which may be wider than the logits'.
    """
    scales = tuple(scale for scale, _ in terms)
    # in the type in which the gradients of the samples are summed
    wide = widened(logits)
    many = wide.unsqueeze(0) if len(corner) == 1 else wide.expand_as(corner)
    return _with_jacobians(corner, many, scales, *(p for _, p in terms))


class _WithJacobians(torch.autograd.Function):
    generate_vmap_rule = True  # which torch then makes from the operations below; `vmap` over examples needs one

    @staticmethod
    def forward(corner: Tensor, logits: Tensor, scales: tuple[float, ...], *probs: Tensor) -> Tensor:
        return corner.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        corner, _, ctx.scales, *probs = inputs
        ctx.dtype = corner.dtype
        keep(ctx, *probs)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # once: a checkpoint refuses to unpack them again
        return None, _jacobian_product(ctx.scales, saved, slopes[0]), None, *[None] * len(saved)

    @staticmethod
    def along(ctx: Any, corner: None, slope: Tensor, *others: None) -> Tensor:
        return _jacobian_product(ctx.scales, ctx.saved_tensors, slope).to(ctx.dtype)


def _jacobian_product(scales: tuple[float, ...], points: tuple[Tensor, ...], slope: Tensor) -> Tensor:
    """Σ c J(p) · slope, `[S, *batch, K]`: alike in both directions, as J(p) = J(p)ᵀ."""
    terms = []
    for scale, probs in zip(scales, points, strict=True):
        # diag(p) g - p (pᵀ g), so that J is never built
        weighed = probs * slope
        term = torch.addcmul(weighed, probs, weighed.sum(-1, keepdim=True), value=-1)
        term = term if term.dim() == slope.dim() else term.mean(0)
        terms.append(term if scale == 1 else scale * term)
    return sum(terms[1:], terms[0])


_with_jacobians = both_ways(_WithJacobians)


# torch binds the arguments by this signature at every call, and reads it from the function anew if it is not there
_WithJacobians.forward.__signature__ = inspect.signature(_WithJacobians.forward)  # pyrefly: ignore[missing-attribute]
