"""Sigmoid affinities, balanced by a bias instead of a loss."""

import torch
import torch.nn.functional as F
from torch import Tensor

from gatewise.errors import GatewiseError
from gatewise.nn.routers.base import Router
from gatewise.nn.routers.registry import register
from gatewise.nn.routing import Routing
from gatewise.precision import WideState


@register
class SigmoidRouter(Router, WideState):
    """s = σ(W x); the top k of s + b are chosen, and weighed by their s alone: scale · s_z / Σ_top s (s_z at k = 1).

    The bias b has no gradient. Once a step, `update_balance(counts)` raises it for experts that got less than their
    share and lowers it for the others: b_z += rate · sign(mean(counts) - counts_z). Nothing is counted in `forward`,
    which may run twice for a step. The gradient is as that of `SoftmaxRouter`. Costs k experts.

    Args:
        in_features: D.
        num_experts: K.
        k: experts for a token.
        rate: how far a step moves the bias.
        scale: the weights' sum for k > 1.

    Attributes:
        balance_bias: b, `[K]`: a buffer, saved with the weights, in float32 whatever the layer is cast to: in
            bfloat16 a step of 0.001 would be lost from 0.25 on.

    Raises:
        GatewiseError: for a k outside of 1..K.

    >>> import torch
    >>> import gatewise as gw
    >>> router = gw.nn.routers.SigmoidRouter(64, num_experts=8, k=2, rate=0.5)
    >>> y, routing = gw.nn.MoELayer(64, experts=8, router=router)(torch.randn(5, 64))
    >>> router.update_balance(routing.counts)  # once, after optimiser.step()
    >>> y.shape, router.balance_bias.abs().max().item()
    (torch.Size([5, 64]), 0.5)

    Reference: DeepSeek-V3 2024 (2412.19437); the bias: Wang et al. 2024 (2408.15664).
    """

    name = "sigmoid"
    reference = "DeepSeek-V3 2024 (2412.19437); Wang et al. 2024 (2408.15664)"

    balance_bias: Tensor

    def __init__(self, in_features: int, num_experts: int, k: int = 1, rate: float = 0.001, scale: float = 1.0):
        super().__init__(in_features, num_experts, k)
        self.rate, self.scale = rate, scale
        self.register_buffer("balance_bias", torch.zeros(num_experts))

    def forward(self, x: Tensor) -> Routing:
        """Route tokens x `[N, D]`."""
        logits = self.scores(x)
        affinity = logits.sigmoid()
        # no bias brings a masked expert back
        biased = torch.where(logits > -torch.inf, affinity.detach() + self.balance_bias, -torch.inf)
        index = biased.topk(self.k, dim=-1).indices
        # s / Σ s in log space, where affinities that have come to 0 still have a ratio
        log_affinity = F.logsigmoid(logits)
        chosen = log_affinity.gather(-1, index).softmax(-1) if self.k > 1 else affinity.gather(-1, index)
        return Routing(logits, log_affinity.softmax(-1), index, self.scale * chosen, chosen=index)

    @torch.no_grad()
    def update_balance(self, counts: Tensor) -> None:
        """Move the bias by the counts `[K]` of a step, summed over micro-batches and processes.

        Raises:
            GatewiseError: for another number of experts.
        """
        if counts.shape != (self.num_experts,):
            raise GatewiseError(f"the balance needs counts of shape [{self.num_experts}], got {list(counts.shape)}")
        counts = counts.to(self.balance_bias)
        self.balance_bias += self.rate * (counts.mean() - counts).sign()
