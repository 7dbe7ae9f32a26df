"""Numbers of a row as learned vectors before gate and experts see them: piecewise-linear, or periodic.

Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning", NeurIPS 2022. The
modules are those of the package rtdl_num_embeddings.
"""

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gatewise.errors import GatewiseError

Kind = Literal["none", "piecewise-linear", "periodic"]
ROWS = 100_000
"""Rows from which bins are computed, evenly spaced among all where there are more."""


class NumericEmbedding(nn.Module):
    """Rows `[B, D]` to `[B, N W + D - N]`: the first N numbers of a row as vectors of width W, the others as they are.

    Args:
        kind: "piecewise-linear", or "periodic".
        numbers: N, at least 1.
        width: W.
        bins: for "piecewise-linear" the edges for each number, each `[edges]`, rising.
        frequency: for "periodic" the standard deviation of its frequencies before training, in waves a standard
            deviation of the number: at 0.01 it begins nearly linear, and at 1 a wave is about one of them long.

    Raises:
        GatewiseError: where the package rtdl_num_embeddings is not installed.
    """

    def __init__(self, kind: Kind, numbers: int, width: int, bins: Sequence[Tensor] = (), frequency: float = 0.01):
        super().__init__()
        package = _package()
        self.numbers = numbers
        if kind == "periodic":
            self.embedding: nn.Module = package.PeriodicEmbeddings(
                numbers, width, frequency_init_scale=frequency, lite=False
            )
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a number with one bin is scaled, which is right
                self.embedding = package.PiecewiseLinearEmbeddings(list(bins), width, activation=False, version="B")

    def forward(self, x: Tensor) -> Tensor:
        """The rows with embedded numbers."""
        return torch.cat([self.embedding(x[:, : self.numbers]).flatten(1), x[:, self.numbers :]], 1)


def quantile_bins(x: Tensor, count: int) -> list[Tensor]:
    """Edges of at most so many bins of about equally many rows, for each column of `[N, D]`.

    A column of one value c has the bin from c to c + 1.
    """
    x = x[:: -(-len(x) // ROWS)]
    edges = torch.quantile(x.double(), torch.linspace(0, 1, count + 1, dtype=torch.float64), dim=0).to(x.dtype).T
    found = [column.unique() for column in edges]
    return [column if len(column) > 1 else torch.stack([column[0], column[0] + 1]) for column in found]


def any_bins(counts: Sequence[int]) -> list[Tensor]:
    """Edges that stand in for so many bins a number, until those of a trained model are loaded."""
    return [torch.arange(count + 1.0) for count in counts]


def _package() -> Any:
    try:
        import rtdl_num_embeddings
    except ImportError:
        raise GatewiseError(
            "numeric_embedding needs rtdl_num_embeddings; install it with: pip install rtdl_num_embeddings"
        ) from None
    return rtdl_num_embeddings
