"""The plain router: the k most likely experts, weighed by their probabilities."""

from torch import Tensor

from gatewise.errors import GatewiseError
from gatewise.nn.routers.base import Router
from gatewise.nn.routers.registry import register
from gatewise.nn.routing import Routing


@register
class SoftmaxRouter(Router):
    """y = Σ_{z in top k} w_z E_z(x), with w = π_z, or π_z divided by their sum over the top k.

    It draws nothing, so its gradient is exact for the function that it computes; what is missing is that an expert
    outside of the top k could be better: nothing tells the router so but the balance. Costs k experts.

    Renormalised over a single expert the weight is 1 whatever the logits, and the router's gradient 0. So it is not
    done at k = 1.

    Args:
        in_features: D.
        num_experts: K.
        k: experts for a token.
        renormalise: whether the weights sum to 1; None does it for k > 1.

    Raises:
        GatewiseError: for a k outside of 1..K, or `renormalise=True` at k = 1.

    >>> import torch
    >>> import gatewise as gw
    >>> router = gw.nn.routers.SoftmaxRouter(64, num_experts=8, k=2, renormalise=False)
    >>> y, routing = gw.nn.MoELayer(64, experts=8, router=router)(torch.randn(5, 64))
    >>> y.shape, routing.weights.shape, bool((routing.weights.sum(-1) < 1).all())
    (torch.Size([5, 64]), torch.Size([5, 2]), True)

    Reference: k = 1: Fedus, Zoph and Shazeer 2021 (2101.03961); renormalised: Lepikhin et al. 2020 (2006.16668).
    """

    name = "softmax"
    reference = "Fedus et al. 2021 (2101.03961); Lepikhin et al. 2020 (2006.16668)"

    def __init__(self, in_features: int, num_experts: int, k: int = 1, renormalise: bool | None = None):
        super().__init__(in_features, num_experts, k)
        if k == 1 and renormalise:
            raise GatewiseError(
                "router 'softmax': the weight of a single expert renormalised is always 1 and the router's gradient 0; "
                "leave renormalise out, or take k from 2"
            )
        self.renormalise = k > 1 if renormalise is None else renormalise

    def forward(self, x: Tensor) -> Routing:
        """Route tokens x `[N, D]`."""
        logits = self.scores(x)
        probs = logits.softmax(-1)
        highest, index = logits.topk(self.k, dim=-1)
        # of the logits, not a quotient: the probabilities of all k may have come to 0
        weights = highest.softmax(-1) if self.renormalise else probs.gather(-1, index)
        return Routing(logits, probs, index, weights, chosen=index)
