"""Stacked perceptrons, each on its own segment of consecutive rows, as one node of the graph.

Autograd by itself makes, for every expert and layer, tensors for what stands between two multiplications, and puts the
experts' gradients together by one more pass over memory as large as all parameters. Here everything is written where it
stays: the hidden activations of all experts lie in one tensor a layer, and the gradient of a parameter `[K, ...]` is
written once, expert by expert, and zeroed only where an expert had no rows.

Shapes: N rows, K experts, layers of widths D_0..D_L.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gatewise.mixture.grouped.blocks import Block, Blocks
from gatewise.mixture.grouped.buffers import BufferPool


@dataclass(frozen=True)
class Segments:
    """How `fused_mlp` runs.

    Attributes:
        blocks: the experts that have rows, alone or several at once.
        dropout: of hidden activations; 0 outside of training.
        compute: the type to multiply in. Weights of another type are converted an expert at a time.
        out: the type of the outputs.
        pool: where hidden activations and gradients get their memory; None for fresh memory at each call.
    """

    blocks: Blocks
    dropout: float
    compute: torch.dtype
    out: torch.dtype
    pool: BufferPool | None

    @property
    def scale(self) -> float:
        """What dropout multiplies by where it keeps."""
        return 0.0 if self.dropout == 1 else 1 / (1 - self.dropout)

    def take(self, purpose: Any, shape: Sequence[int], like: Tensor) -> Tensor:
        """An uninitialised tensor."""
        return like.new_empty(shape) if self.pool is None else self.pool.take(purpose, shape, like)


def fused_mlp(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], how: Segments) -> Tensor:
    """Outputs `[N, D_L]` for rows x `[N, D_0]`, weights `[K, D_in, D_out]`, biases `[K, D_out]`.

    ReLU and dropout stand between the layers. Dropout draws what `F.dropout` would, expert by expert. An expert without
    rows costs the zeros of its gradient. Second derivatives are supported, at the cost of another forward pass.
    """
    wanted = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *weights, *biases))
    if wanted:
        return _Perceptrons.apply(how, x, *weights, *biases)
    # what no backward pass waits for is small, or belongs to a passing evaluation: it is not worth keeping memory for
    return _forward(replace(how, pool=None), x, weights, biases, keep=False)[0]


def _forward(
    how: Segments, x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], keep: bool
) -> tuple[Tensor, list[Tensor]]:
    """Outputs `[N, D]`, and what each layer was given, `[P, D]`, of the hidden ones only if they are kept."""
    blocks, x = how.blocks, x.to(how.compute)
    rows = blocks.pad(x, lambda shape: how.take("rows", shape, x))
    height = blocks.size if keep else blocks.room
    widths = [weight.shape[2] for weight in weights]
    hidden = [how.take(("hidden", layer), (height, width), rows) for layer, width in enumerate(widths[:-1])]
    out = how.take("outputs", (blocks.size, widths[-1]), rows)
    weight_of, bias_of = _Converted(weights, how.compute), _Converted(biases, how.compute)
    for block in blocks:
        h = block.of(rows)
        masks = _masks(how, block, hidden) if how.dropout and block.number > 1 else []
        for layer, kept in enumerate(hidden):
            z = block.of(kept) if keep else block.shaped(kept[: block.size])
            _affine(bias_of(layer, block), h, weight_of(layer, block), z).relu_()
            if masks:
                z.mul_(masks[layer])
            elif how.dropout:
                F.dropout(z, how.dropout, True, inplace=True)
            h = z
        _affine(bias_of(-1, block), h, weight_of(-1, block), block.of(out))
    return blocks.unpad(out).to(how.out), [rows, *hidden]


def _masks(how: Segments, block: Block, hidden: Sequence[Tensor]) -> list[Tensor]:
    """What dropout multiplies the activations of several experts by, a tensor a layer: drawn as they would alone."""
    masks = [block.shaped(part.new_ones(block.size, part.shape[1])) for part in hidden]
    counts = how.blocks.counts[block.first : block.first + block.number]
    for i, count in enumerate(counts):
        for mask in masks:
            F.dropout(mask[i, :count], how.dropout, True, inplace=True)
    return masks


def _affine(bias: Tensor, h: Tensor, weight: Tensor, out: Tensor) -> Tensor:
    """h @ weight + bias of one expert, or of several stacked."""
    if h.dim() == 2:
        return torch.addmm(bias, h, weight, out=out)
    return torch.baddbmm(bias.unsqueeze(1), h, weight, out=out)


def _product(left: Tensor, right: Tensor, out: Tensor) -> Tensor:
    """left @ right of one expert, or of several stacked."""
    return (torch.mm if left.dim() == 2 else torch.bmm)(left, right, out=out)


class _Converted:
    """The slices of stacked tensors, in the type to multiply in: the next one of a layer overwrites the last."""

    def __init__(self, stacked: Sequence[Tensor], dtype: torch.dtype):
        self.stacked, self.dtype = stacked, dtype
        self.buffers = [None if t.dtype == dtype else torch.empty_like(t[0], dtype=dtype) for t in stacked]

    def __call__(self, layer: int, block: Block) -> Tensor:
        buffer, part = self.buffers[layer], block.slice(self.stacked[layer])
        if buffer is None:
            return part
        return buffer.copy_(part) if block.number == 1 else part.to(self.dtype)


class _Written:
    """The gradient of a stacked tensor `[K, ...]`, written block by block in the type that was multiplied in."""

    def __init__(self, how: Segments, purpose: Any, parameter: Tensor):
        self.whole = how.take(purpose, parameter.shape, parameter)
        self.buffer = None if parameter.dtype == how.compute else torch.empty_like(parameter[0], dtype=how.compute)
        for k in how.blocks.left_out:
            self.whole[k].zero_()

    def product(self, block: Block, left: Tensor, right: Tensor) -> None:
        """Write left @ right."""
        self._store(block, _product(left, right, self._target(block)))

    def total(self, block: Block, rows: Tensor) -> None:
        """Write the sum over the rows."""
        self._store(block, torch.sum(rows, -2, out=self._target(block)))

    def _target(self, block: Block) -> Tensor:
        if self.buffer is None:
            return block.slice(self.whole)
        return self.buffer if block.number == 1 else self.buffer.new_empty(block.number, *self.buffer.shape)

    def _store(self, block: Block, written: Tensor) -> None:
        if self.buffer is not None:
            block.slice(self.whole).copy_(written)


class _Perceptrons(torch.autograd.Function):
    """`fused_mlp` with its gradient."""

    @staticmethod
    def forward(ctx: Any, how: Segments, x: Tensor, *parameters: Tensor) -> Tensor:
        layers = len(parameters) // 2
        out, given = _forward(how, x, parameters[:layers], parameters[layers:], keep=True)
        ctx.how = how
        ctx.save_for_backward(x, *parameters, *given)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, *rest = ctx.saved_tensors
        layers = len(rest) // 3
        weights, biases, given = rest[:layers], rest[layers : 2 * layers], rest[2 * layers :]
        needed = ctx.needs_input_grad[1:]
        back = _replayed if torch.is_grad_enabled() else _backward
        return None, *back(ctx.how, grads[0], x, weights, biases, given, needed)


def _backward(
    how: Segments,
    grad: Tensor,
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    given: Sequence[Tensor],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of x, weights and biases, None where none is needed."""
    layers, blocks, rows = len(weights), how.blocks, given[0]
    grad = grad.to(how.compute).contiguous()
    grad = blocks.pad(grad, lambda shape: how.take("gradient of outputs", shape, rows))
    of_x = how.take("gradient of rows", rows.shape, rows) if needed[0] else None
    written = [
        _Written(how, ("gradient", i), parameter) if needed[1 + i] else None
        for i, parameter in enumerate((*weights, *biases))
    ]
    lowest = 0 if needed[0] else min(i % layers for i, it in enumerate(written) if it is not None)
    deltas = [rows.new_empty(blocks.room if i > lowest else 0, w.shape[1]) for i, w in enumerate(weights)]
    weight_of = _Converted(weights, how.compute)
    for block in blocks:
        delta = block.of(grad)
        for layer in range(layers - 1, lowest - 1, -1):
            h = block.of(given[layer])
            if (weight := written[layer]) is not None:
                weight.product(block, h.mT, delta)
            if (bias := written[layers + layer]) is not None:
                bias.total(block, delta)
            if layer > lowest:
                below = _product(delta, weight_of(layer, block).mT, block.shaped(deltas[layer][: block.size]))
                # h is what ReLU and dropout let through, so it is above 0 exactly where both did
                delta = torch.ops.aten.threshold_backward.grad_input(below, h, 0, grad_input=below)
                if how.dropout:
                    delta.mul_(how.scale)
        if of_x is not None:
            _product(delta, weight_of(0, block).mT, block.of(of_x))
    found = None if of_x is None else blocks.unpad(of_x).to(x.dtype)
    return [found, *(None if it is None else it.whole for it in written)]


def _replayed(
    how: Segments,
    grad: Tensor,
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    given: Sequence[Tensor],
    needed: Sequence[bool],
) -> Iterator[Tensor | None]:
    """The same with a graph of its own: the forward pass once more, with what ReLU and dropout let through."""
    inputs = (x, *weights, *biases)
    masks = [how.blocks.parts((part > 0).to(how.compute) * how.scale) for part in given[1:]]
    slices = [(w.to(how.compute).unbind(0), b.to(how.compute).unbind(0)) for w, b in zip(weights, biases, strict=True)]
    order = how.blocks.places.to(x.device).argsort()  # by expert
    rows, outputs = x.to(how.compute)[order].split(how.blocks.counts), []
    for k in (k for k, count in enumerate(how.blocks.counts) if count):
        h = rows[k]
        for layer, (weight, bias) in enumerate(slices):
            h = torch.addmm(bias[k], h if layer == 0 else h * masks[layer - 1][k], weight[k])
        outputs.append(h)
    chosen = [tensor for tensor, wanted in zip(inputs, needed, strict=True) if wanted]
    out = torch.cat(outputs)[order.argsort()].to(how.out)
    found = iter(torch.autograd.grad(out, chosen, grad, create_graph=True))
    return (next(found) if wanted else None for wanted in needed)
