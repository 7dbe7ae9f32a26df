"""SparseMixer: what the choice changes, from the one expert that ran, by an ODE solver along its weight."""

import torch
from torch import Tensor

from gatewise.errors import GatewiseError
from gatewise.estimators.base import gradient_only
from gatewise.nn.routers.base import Router
from gatewise.nn.routers.registry import register
from gatewise.nn.routing import Routing

SHRINKING = {1: (1.0, 0.0), 2: (1 / 2, 1 / 2), 3: (1 / 3, 3 / 8)}
"""By order: the factor c of an output that is shrunk, and how often one is."""


@register
class SparseMixerRouter(Router):
    """z ~ π; y = c π_z E_z(x) with a random c in training, y = π_z E_z(x) at the argmax after. Costs 1 expert.

    The expected loss Σ_z π_z L(π_z E_z) has the gradient Σ_z L(π_z E_z) ∇π_z + Σ_z π_z L'(π_z E_z) E_z ∇π_z. The
    output's own gradient is the second sum alone. In the first, as Σ_z ∇π_z = 0, L(π_z E_z) - L(0) serves as well: the
    integral of L'(c π_z E_z) π_z E_z over c from 0 to 1, of which each draw sees one c. So the router gets
    2 L'(c π_z E_z) E_z ∇π_z, with

        order 1: c = 1                                  exact in expectation for L linear in y
        order 2: c = 1/2 half of the time, else 1       the midpoint rule, exact for L quadratic
        order 3: c = 1/3 in 3 of 8 draws, else 1        Heun's third order, exact for L cubic

    For the value and the experts it is biased: the output is shrunk to 3/4 in the mean for orders 2 and 3.

    The published code shrinks no output of the argmax's expert, so that the experts see larger outputs; the gradient
    is then exact for a linear L alone, whatever the order: `shrink_argmax=False` does that. It also never draws an
    expert whose logit is far below the highest, and scales the output by a learned vector; both are left out. The
    code of GRIN (2409.12136) has order 3 for the first sum alone; here the second is in it.

    Args:
        in_features: D.
        num_experts: K.
        order: 1, 2 or 3.
        shrink_argmax: see above.

    Raises:
        GatewiseError: for another order.

    >>> import torch
    >>> import gatewise as gw
    >>> router = gw.nn.routers.SparseMixerRouter(64, num_experts=8, order=3)
    >>> y, routing = gw.nn.MoELayer(64, experts=8, router=router)(torch.randn(5, 64))
    >>> y.shape, router.experts_run, routing.index.shape
    (torch.Size([5, 64]), 1, torch.Size([5, 1]))

    Reference: Liu, Gao and Chen 2023 (2310.00811); order 3: Liu et al. 2024 (2409.12136).
    """

    name = "sparsemixer"
    reference = "Liu et al. 2023 (2310.00811); Liu et al. 2024 (2409.12136)"

    def __init__(self, in_features: int, num_experts: int, order: int = 2, shrink_argmax: bool = True):
        super().__init__(in_features, num_experts)
        if order not in SHRINKING:
            raise GatewiseError(f"router 'sparsemixer': order must be 1, 2 or 3, got {order}")
        self.order, self.shrink_argmax = order, shrink_argmax

    def draw_shrunk(self, index: Tensor) -> Tensor:
        """Whether the output is shrunk, bool `[N]`. A test puts every outcome in its place."""
        return torch.rand(index.shape, device=index.device) < SHRINKING[self.order][1]

    def forward(self, x: Tensor) -> Routing:
        """Route tokens x `[N, D]`."""
        logits = self.scores(x)
        probs = logits.softmax(-1)
        best = logits.argmax(-1)
        index = self.draw_index(logits) if self.training else best
        weight = probs.gather(-1, index.unsqueeze(-1))
        if self.training:
            shrunk = self.draw_shrunk(index)
            if not self.shrink_argmax:
                shrunk = shrunk & (index != best)
            factor = torch.where(shrunk, weight.new_tensor(SHRINKING[self.order][0]), 1.0).unsqueeze(-1)
            weight = factor * weight.detach() + 2 * gradient_only(weight)
        index = index.unsqueeze(-1)
        return Routing(logits, probs, index, weight, chosen=index)
