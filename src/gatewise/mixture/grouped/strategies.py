"""Execution strategies of a bank of stacked perceptrons, each expert on its own rows, and the choice among them.

The figures behind the choice are measured by `benchmarks/ways.py`; see docs/sparse-execution.md.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gatewise.errors import GatewiseError
from gatewise.mixture.grouped.blocks import Blocks
from gatewise.mixture.grouped.buffers import BufferPool
from gatewise.mixture.grouped.fused_mlp import Segments, fused_mlp
from gatewise.mixture.masks import without_gradient
from gatewise.wording import instead

STRATEGIES = ("auto", "segments", "padded", "loop")

PADDED_FLOP = 5e6
"""The most work for one expert and layer, forward and backward, at which a step is made of calls, not of arithmetic."""

COPIED_FLOP = 300
"""What it costs to move a number of a row to its padded place and back, in arithmetic."""

WASTED_FLOP = 1e6
"""What one call for one expert and layer costs, in arithmetic on rows of padding that could be done meanwhile."""


def check_strategy(strategy: str) -> None:
    """Refuse an unknown strategy.

    Raises:
        GatewiseError: with the strategies there are.
    """
    if strategy not in STRATEGIES:
        raise GatewiseError(f"unknown strategy {strategy!r} to run a bank{instead(str(strategy), STRATEGIES)}")


def run(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    counts: Sequence[int],
    *,
    dropout: float,
    strategy: str,
    pool: BufferPool,
    blocks: Blocks | None = None,
) -> Tensor:
    """Outputs `[N, D_L]` for rows x `[N, D_0]`, weights `[K, D_in, D_out]`, biases `[K, D_out]`.

    Args:
        x: rows, sorted by expert where no blocks are given.
        weights: one a layer.
        biases: one a layer.
        counts: rows of each expert, K numbers that sum to N.
        dropout: of hidden activations; 0 outside of training.
        strategy: one of `STRATEGIES`; "auto" takes what `choose` says.
        pool: memory that is used again from step to step.
        blocks: what `cut` gave for these counts, placed; None to ask it.

    Raises:
        GatewiseError: for an unknown strategy.
    """
    compute, out = types(x, weights[0])
    blocks = cut(counts, x, weights, strategy) if blocks is None else blocks
    if blocks is None or len(x) == 0:
        return loop(x, weights, biases, counts, dropout)
    if blocks.stacked:
        return padded(x, weights, biases, blocks, dropout)
    # elsewhere allocators keep memory themselves, and know of streams
    kept = pool if x.device.type == "cpu" else None
    return fused_mlp(x, weights, biases, Segments(blocks, dropout, compute, out, kept))


def cut(counts: Sequence[int], x: Tensor, weights: Sequence[Tensor], strategy: str) -> Blocks | None:
    """The blocks that experts with so many rows, like those of x, run in; None to run them one after another.

    Raises:
        GatewiseError: for an unknown strategy.
    """
    check_strategy(strategy)  # it is an attribute of the bank, which anyone may set
    if strategy == "auto":
        strategy = choose(counts, x, weights)
    if strategy == "loop":
        return None
    if strategy == "padded":
        return Blocks.stack(counts)
    return Blocks.cut(counts, together(x, weights[0], types(x, weights[0])[0]))


def every(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], *, dropout: float, possible: Tensor | None = None
) -> Tensor:
    """Outputs `[B, K, D_L]` of every expert on every row of x `[B, D_0]`; arguments as for `run`.

    With `possible`, bool `[B, K]`, a gradient of 0 stays 0 where an expert is masked, even if its weights are NaN.
    """
    h = x.expand(len(weights[0]), -1, -1)
    masked = None if possible is None or not torch.is_grad_enabled() else ~possible.T.unsqueeze(-1)
    h = h if masked is None else without_gradient(masked, h)
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        if layer:
            # ReLU lets no gradient through where it was given 0
            h = h if masked is None else h.masked_fill(masked, 0.0)
            h = F.dropout(F.relu(h), dropout, dropout > 0)
        h = torch.baddbmm(bias.unsqueeze(1), h, weight)
    return h.transpose(0, 1)


def choose(counts: Sequence[int], x: Tensor, weights: Sequence[Tensor]) -> str:
    """The strategy for these counts, of rows like those of x, and weights: the fastest of those measured on a CPU.

    - "padded", where arithmetic is so little that the calls cost more, and no expert has so many rows that padding the
      others to as many would be dear;
    - "segments" otherwise, and where types are converted;
    - "loop" on other devices, under `torch.compile`, and where x and weights do not fit each other: it is made of
      plain operations of torch, one expert after another.
    """
    weight = weights[0]
    plain = type(weight) in (Tensor, torch.nn.Parameter) and type(x) in (Tensor, torch.nn.Parameter)
    if x.device.type != "cpu" or weight.device.type != "cpu" or torch.compiler.is_compiling() or not plain:
        return "loop"
    if x.dtype != weight.dtype and not torch.is_autocast_enabled("cpu"):
        return "loop"  # torch's own error
    if set(types(x, weight)) != {weight.dtype} or not max(counts, default=0):
        return "segments"
    per_row = 6 * sum(each.shape[1] * each.shape[2] for each in weights) + COPIED_FLOP * weight.shape[1]
    calls = len(weights) * (len(counts) - list(counts).count(0))
    height = len(counts) * max(counts)
    small = height * per_row <= PADDED_FLOP * calls and (height - sum(counts)) * per_row <= WASTED_FLOP * calls
    return "padded" if small else "segments"


def together(x: Tensor, weight: Tensor, compute: torch.dtype) -> int:
    """The most experts to multiply at once: as many as there are threads, where no type is converted."""
    return torch.get_num_threads() if x.device.type == "cpu" and weight.dtype == compute else 1


def types(x: Tensor, weight: Tensor) -> tuple[torch.dtype, torch.dtype]:
    """The type to multiply in, and the type of the outputs.

    Under autocast the outputs have autocast's type, as those of `torch.addmm` have. A processor without instructions
    for bfloat16 or float16 multiplies them many times slower than float32: there it is done in float32.
    """
    device, out = x.device.type, x.dtype
    if torch.is_autocast_enabled(device) and torch.float64 not in (x.dtype, weight.dtype):
        out = torch.get_autocast_dtype(device)
    return torch.float32 if device == "cpu" and _is_slow(out) else out, out


def _is_slow(dtype: torch.dtype) -> bool:
    if dtype not in (torch.bfloat16, torch.float16):
        return False
    name = "_is_mkldnn_bf16_supported" if dtype == torch.bfloat16 else "_is_mkldnn_fp16_supported"
    supported = getattr(torch.ops.mkldnn, name, None)
    return supported is not None and not supported()


def loop(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], counts: Sequence[int], dropout: float
) -> Tensor:
    """Plain operations, one expert after another; an expert without rows is not run, but the first of none at all.

    So without rows, too, the bank has a gradient, of 0, which processes that train together wait for.
    """
    # unbind before slicing: the backward of W[k] makes a gradient as large as all of W, that of unbind makes
    # one stack for all experts.
    layers = [(w.unbind(0), b.unbind(0)) for w, b in zip(weights, biases, strict=True)]
    outputs = []
    for k, rows in enumerate(x.split(list(counts))):
        if not len(rows) and (k or len(x)):
            continue
        h = rows
        for layer, (weight, bias) in enumerate(layers):
            if layer:
                h = F.dropout(F.relu(h), dropout, dropout > 0)
            h = torch.addmm(bias[k], h, weight[k])
        outputs.append(h)
    return torch.cat(outputs)


def padded(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], blocks: Blocks, dropout: float) -> Tensor:
    """Plain operations on a stack: all experts at once, each on as many rows as the one with the most has.

    Where steps are this small, torch's own graph costs less than `fused_mlp`, which is written in Python.
    """
    places = blocks.places.to(x.device)
    # without rows, perhaps because they are masked and answer no numbers
    idle = torch.tensor([k for k, count in enumerate(blocks.counts) if not count]) if 0 in blocks.counts else None
    h = x.new_zeros(blocks.size, x.shape[1]).index_copy_(0, places, x).view(len(blocks.counts), -1, x.shape[1])
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        if layer:
            # ReLU lets no gradient through where it was given 0: the gradient 0 @ NaN ends here, and 0 @ 0 is none
            h = h if idle is None else h.index_fill_(0, idle.to(h.device), 0.0)
            h = h.relu_()
            h = F.dropout(h, dropout) if dropout else h
        h = torch.baddbmm(bias.unsqueeze(1), h, weight)
    return h.view(blocks.size, -1).index_select(0, places)
