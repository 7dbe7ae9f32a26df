"""The mixture's dispatch and banks as a layer inside any network.

layer = gw.nn.MoELayer(64, experts=8, hidden=128, k=2)     # a Transformer block's feed-forward
y, routing = layer(x)                                      # x [..., 64] -> y [..., 64]
loss = task_loss(y) + 0.01 * routing.balance_loss() + 0.001 * routing.z_loss()
"""

from gatewise.nn import routers
from gatewise.nn.layer import MoELayer
from gatewise.nn.routing import Routing

__all__ = ["MoELayer", "Routing", "routers"]
