"""The base of all routers: a linear map to scores in full precision, and the facts they state."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gatewise.errors import GatewiseError, undefined
from gatewise.nn.routing import Routing
from gatewise.noise import categorical
from gatewise.precision import widened


class Router(nn.Module):
    """Base of all routers: tokens `[N, D]` to a `Routing`. A subclass writes `forward`.

    Attributes:
        name: kebab-case.
        reference: the paper.
        k: the experts chosen for a token.

    Args:
        in_features: D.
        num_experts: K.
        k: from 1 to K.

    Raises:
        GatewiseError: for a k outside of 1..K.

    >>> import torch
    >>> import gatewise as gw
    >>> class Hash(gw.nn.routers.Router):
    ...     name, reference = "hash", "Roller et al. 2021"
    ...     def forward(self, x):
    ...         index = (x.sum(-1, keepdim=True).abs() * 1000).long() % self.num_experts
    ...         scores = self.scores(x)
    ...         return gw.nn.Routing(scores, scores.softmax(-1), index, torch.ones_like(index, dtype=x.dtype), index)
    >>> gw.nn.MoELayer(64, experts=8, router=Hash(64, 8))(torch.randn(5, 64))[0].shape
    torch.Size([5, 64])
    """

    name: ClassVar[str]
    reference: ClassVar[str]

    def __init__(self, in_features: int, num_experts: int, k: int = 1):
        super().__init__()
        if not 1 <= k <= num_experts:
            raise GatewiseError(f"router {self.name!r}: k must be from 1 to {num_experts} experts, got {k}")
        self.in_features, self.num_experts, self.k = in_features, num_experts, k
        bound = 1 / math.sqrt(in_features)
        self.weight = nn.Parameter(torch.empty(num_experts, in_features).uniform_(-bound, bound))

    @property
    def experts_run(self) -> int:
        """Experts that run for a token in the present mode."""
        return self.k

    def scores(self, x: Tensor) -> Tensor:
        """The logits `[N, K]` of tokens x `[N, D]`."""
        return full_precision(x, self.weight)

    def forward(self, x: Tensor) -> Routing:
        """Route tokens x `[N, D]`."""
        undefined(self, "forward")

    def draw_index(self, logits: Tensor) -> Tensor:
        """One draw z ~ softmax(logits) for each token, int64 `[N]`. A test puts every outcome in its place."""
        return categorical(logits, 1).squeeze(0)

    hold_statistics: bool = False
    """Set by a training loop that accumulates gradients: running baselines then wait for `commit`."""

    def commit(self) -> None:
        """Fold in statistics held back while `hold_statistics` is set: the end of an optimiser step."""

    def update_balance(self, counts: Tensor) -> None:
        """Move a balance bias against the counts `[K]`: see `SigmoidRouter`.

        Raises:
            GatewiseError: for a router that has none.
        """
        raise GatewiseError(
            f"router {self.name!r} has no balance bias to update; add routing.balance_loss() to the loss, "
            "or take router 'sigmoid'"
        )

    def score_function_loss(self, routing: Routing, cost: Tensor) -> Tensor:
        """What trains the router of a hard draw: see `ScoreFunctionRouter`.

        Raises:
            GatewiseError: for a router that learns through the output's own gradient.
        """
        raise GatewiseError(f"router {self.name!r} learns from the loss of the output; take router 'score-function'")

    def extra_repr(self) -> str:
        """Sizes, for `print`."""
        return f"{self.in_features} → {self.num_experts}, k={self.k}"


def full_precision(x: Tensor, weight: Tensor) -> Tensor:
    """x @ weightᵀ in float32 at least, also under autocast: which experts are the top k hangs on small differences."""
    with torch.autocast(x.device.type, enabled=False):
        return F.linear(widened(x), widened(weight))
