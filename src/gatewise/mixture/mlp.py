"""Multilayer perceptrons: one, and a bank of K stacked in shared tensors."""

import functools
import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gatewise.errors import GatewiseError
from gatewise.mixture.eval_mode import is_frozen
from gatewise.mixture.experts import Experts
from gatewise.mixture.grouped.blocks import Blocks
from gatewise.mixture.grouped.buffers import BufferPool
from gatewise.mixture.grouped.dispatch import Dispatch
from gatewise.mixture.grouped.strategies import check_strategy, cut, every, run


def mlp(in_features: int, hidden: Sequence[int], out_features: int, dropout: float = 0.0) -> nn.Sequential:
    """Linear layers with ReLU and dropout between them; input `[B, ...]` is flattened to `[B, in_features]`.

    >>> import torch
    >>> import gatewise as gw
    >>> gw.mixture.mlp(64, [32], 10)(torch.zeros(5, 8, 8)).shape
    torch.Size([5, 10])
    """
    layers: list[nn.Module] = [nn.Flatten()]
    width = in_features
    for size in hidden:
        layers += [nn.Linear(width, size), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
        width = size
    return nn.Sequential(*layers, nn.Linear(width, out_features))


class MLPBank(Experts):
    """K perceptrons of one shape, `mlp(in_features, hidden, out_features, dropout)` each, stacked layer by layer.

    One parameter `[K, in, out]` and one `[K, out]` a layer: K experts are a few large multiplications and a few
    optimiser tensors.

    Args:
        num_experts: K.
        in_features: features of a row, after flattening.
        hidden: widths of the hidden layers; none makes linear experts.
        out_features: outputs of an expert.
        dropout: after each hidden layer, drawn for every (row, expert) by itself; not while all is frozen.
        strategy: how `grouped` runs; "auto" chooses by size and balance, "segments", "padded" and "loop" force one
            (docs/sparse-execution.md).

    Raises:
        GatewiseError: for fewer than 1 expert, or an unknown strategy.

    >>> import torch
    >>> import gatewise as gw
    >>> experts = gw.MLPBank(8, in_features=64, hidden=[16], out_features=10)
    >>> experts(torch.randn(5, 64)).shape, [list(parameter.shape) for parameter in experts.parameters()]
    (torch.Size([5, 8, 10]), [[8, 64, 16], [8, 16, 10], [8, 16], [8, 10]])
    """

    takes_mask = True

    def __init__(
        self,
        num_experts: int,
        in_features: int,
        hidden: Sequence[int],
        out_features: int,
        dropout: float = 0.0,
        *,
        strategy: str = "auto",
    ):
        super().__init__()
        if num_experts < 1:
            raise GatewiseError(f"a mixture needs at least 1 expert, got {num_experts}")
        check_strategy(strategy)
        self.num_experts = num_experts
        self.dropout = dropout
        widths = [in_features, *hidden, out_features]
        shapes = list(itertools.pairwise(widths))
        self.weights = nn.ParameterList(torch.empty(num_experts, i, o) for i, o in shapes)
        self.biases = nn.ParameterList(torch.empty(num_experts, o) for _, o in shapes)
        self.strategy = strategy
        self._pool = BufferPool()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew, each expert by itself.

        He's uniform bounds before a ReLU (1502.01852), 1/sqrt(in) for the outputs, no bias: on average the classes
        begin equal, and the experts unlike each other.
        """
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            fan_in = weight.shape[1]
            bound = 1 / math.sqrt(fan_in) if layer == last else math.sqrt(6 / fan_in)
            nn.init.uniform_(weight, -bound, bound)
            nn.init.zeros_(bias)

    def expert(self, k: int) -> nn.Sequential:
        """A copy of expert k as a plain module."""
        widths = [self.weights[0].shape[1], *(bias.shape[1] for bias in self.biases)]
        module = mlp(widths[0], widths[1:-1], widths[-1], self.dropout).to(self.weights[0])
        linears = [layer for layer in module if isinstance(layer, nn.Linear)]
        with torch.no_grad():
            for linear, weight, bias in zip(linears, self.weights, self.biases, strict=True):
                linear.weight.copy_(weight[k].T)
                linear.bias.copy_(bias[k])
        return module

    def forward(self, x: Tensor, possible: Tensor | None = None) -> Tensor:
        """Outputs `[B, K, O]` of every expert on every row of x `[B, ...]`.

        Where not `possible`, bool `[B, K]`, they are any, and gradients of 0 stay 0.
        """
        return every(x.flatten(1), list(self.weights), list(self.biases), dropout=self._dropout, possible=possible)

    @property
    def _dropout(self) -> float:
        """The dropout at work: none in inference mode, in which a frozen bank rests."""
        return self.dropout if self.dropout and self.training and not is_frozen(self) else 0.0

    def plan(self, index: Tensor, x: Tensor, *, distinct: bool = False) -> Dispatch:
        """How the rows of x `[B, ...]` travel to the experts that they ask for: see `Dispatch.plan`."""
        if type(self).grouped is not MLPBank.grouped:  # a subclass's own may know of no blocks
            return super().plan(index, x, distinct=distinct)
        blocks_of = functools.partial(cut, x=x, weights=list(self.weights), strategy=self.strategy)
        return Dispatch.plan(index, self.num_experts, distinct=distinct, cut=blocks_of)

    def grouped(self, x: Tensor, counts: Sequence[int], blocks: Blocks | None = None) -> Tensor:
        """Outputs `[N, O]` for rows sorted by expert; an expert without rows is not run.

        With `blocks`, those of a plan, the rows are in any order.
        """
        return run(
            x.flatten(1),
            list(self.weights),
            list(self.biases),
            counts,
            dropout=self._dropout,
            strategy=self.strategy,
            pool=self._pool,
            blocks=blocks,
        )

    def train(self, mode: bool = True) -> "MLPBank":
        """Set the mode; memory kept for the next training step is given back when training ends."""
        if not mode:
            self._pool.release()
        return super().train(mode)

    def extra_repr(self) -> str:
        """Shape, for `print`."""
        widths = [self.weights[0].shape[1], *(bias.shape[1] for bias in self.biases)]
        return f"{self.num_experts} × {' → '.join(map(str, widths))}, dropout={self.dropout}"
