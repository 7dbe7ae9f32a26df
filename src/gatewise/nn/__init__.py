"""The mixture's dispatch and banks as a layer inside any network.

A Transformer block's feed-forward, say, of 8 experts of which 2 run for a token:

    layer = gw.nn.MoELayer(64, experts=8, hidden=128, k=2)
    y, routing = layer(x)                                      # x [..., 64] -> y [..., 64]
    loss = task_loss(y) + 0.01 * routing.balance_loss() + 0.001 * routing.z_loss()

How experts are chosen is a router: `gatewise.nn.routers`.
"""

from gatewise.nn import routers
from gatewise.nn.layer import MoELayer
from gatewise.nn.routing import Routing

__all__ = ["MoELayer", "Routing", "routers"]
