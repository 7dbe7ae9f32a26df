"""Noisy top-k gating: noise of a learned size decides between experts that are close."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gatewise.nn.routers.base import Router, full_precision
from gatewise.nn.routers.registry import register
from gatewise.nn.routing import Routing


@register
class NoisyTopKRouter(Router):
    """h = W x + ε softplus(W_noise x), ε ~ N(0, 1) in training and 0 after; w = softmax of h over its top k.

    The gradient is that of the output for the noise drawn, and blind to what a change of the top k would do. Costs k
    experts. At k = 1 the paper's weight is 1 and its gradient 0, so here it is softmax(h) over all experts, at the one
    chosen. The paper's two balance losses are not here; `balance_loss` takes softmax(W x).

    Args:
        in_features: D.
        num_experts: K.
        k: experts for a token.

    Raises:
        GatewiseError: for a k outside of 1..K.

    >>> import torch
    >>> import gatewise as gw
    >>> router = gw.nn.routers.NoisyTopKRouter(64, num_experts=8, k=2)
    >>> y, routing = gw.nn.MoELayer(64, experts=8, router=router)(torch.randn(5, 64))
    >>> y.shape, routing.index.shape
    (torch.Size([5, 64]), torch.Size([5, 2]))

    Reference: Shazeer et al. 2017 (1701.06538).
    """

    name = "noisy-top-k"
    reference = "Shazeer et al. 2017 (1701.06538)"

    def __init__(self, in_features: int, num_experts: int, k: int = 1):
        super().__init__(in_features, num_experts, k)
        # at 0, as in the paper: noise of softplus(0) = 0.69 everywhere
        self.noise_weight = nn.Parameter(torch.zeros(num_experts, in_features))

    def forward(self, x: Tensor) -> Routing:
        """Route tokens x `[N, D]`."""
        logits = self.scores(x)
        noisy = logits
        if self.training:
            noisy = logits + torch.randn_like(logits) * F.softplus(full_precision(x, self.noise_weight))
        highest, index = noisy.topk(self.k, dim=-1)
        weights = highest.softmax(-1) if self.k > 1 else noisy.softmax(-1).gather(-1, index)
        return Routing(logits, logits.softmax(-1), index, weights, chosen=index)
