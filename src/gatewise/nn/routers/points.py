"""Routers by a one-hot point with a surrogate gradient: straight-through, ReinMax, and any estimator of points."""

from typing import ClassVar

import torch
from torch import Tensor

from gatewise.estimators.base import PointEstimator
from gatewise.estimators.reinmax import ReinMax
from gatewise.estimators.straight_through import StraightThrough
from gatewise.nn.routers.base import Router
from gatewise.nn.routers.registry import register
from gatewise.nn.routing import Routing
from gatewise.schedules import Schedule


class PointRouter(Router):
    """y = Σ_z point_z E_z(x) in training, with the point drawn by an estimator; the argmax's expert alone after.

    Forward the point is one-hot, so the output is that of one expert. Backward the surrogate asks for
    ⟨∂L/∂y, E_z(x)⟩ of every z: training runs all K experts, inference 1. For K experts at full cost there are no
    cheaper ones that ask all of them; where that is too much take `sparsemixer`.

    Args:
        in_features: D.
        num_experts: K.
        estimator: any `gw.estimators.PointEstimator`.

    >>> import torch
    >>> import gatewise as gw
    >>> router = gw.nn.routers.PointRouter(64, num_experts=8, estimator=gw.estimators.GumbelSoftmax())
    >>> y, routing = gw.nn.MoELayer(64, experts=8, router=router)(torch.randn(5, 64))
    >>> y.shape, router.experts_run  # all of them in training
    (torch.Size([5, 64]), 8)
    """

    name: ClassVar[str] = "points"
    reference = "that of the estimator"

    def __init__(self, in_features: int, num_experts: int, estimator: PointEstimator):
        super().__init__(in_features, num_experts)
        self.estimator = estimator

    @property
    def experts_run(self) -> int:
        """K in training, 1 after."""
        return self.num_experts if self.training else 1

    def forward(self, x: Tensor) -> Routing:
        """Route tokens x `[N, D]`."""
        logits = self.scores(x)
        probs = logits.softmax(-1)
        if not self.training:
            index = logits.argmax(-1, keepdim=True)
            return Routing(logits, probs, index, torch.ones_like(index, dtype=logits.dtype), chosen=index)
        point = self.estimator.draw(logits, 1).squeeze(0)
        every = torch.arange(self.num_experts, device=x.device).expand(len(x), -1)
        return Routing(logits, probs, every, point, chosen=point.detach().argmax(-1, keepdim=True))


@register
class StraightThroughRouter(PointRouter):
    """e_z forward, z ~ π; J(π) backward.

    Unbiased for the experts; for the router exact in expectation where the loss is linear in y, biased otherwise.
    Costs K experts in training, 1 after.

    Args:
        in_features: D.
        num_experts: K.

    >>> import torch
    >>> import gatewise as gw
    >>> router = gw.nn.routers.StraightThroughRouter(64, num_experts=8)
    >>> y, routing = gw.nn.MoELayer(64, experts=8, router=router)(torch.randn(5, 64))
    >>> y.shape, router.experts_run, router.eval().experts_run
    (torch.Size([5, 64]), 8, 1)

    Reference: Bengio, Léonard and Courville 2013 (1308.3432).
    """

    name = "straight-through"
    reference = "Bengio et al. 2013 (1308.3432)"

    def __init__(self, in_features: int, num_experts: int):
        super().__init__(in_features, num_experts, StraightThrough())


@register
class ReinMaxRouter(PointRouter):
    """e_z forward, z ~ π; 2 J((softmax(θ/t) + e_z)/2) - ½ J(π) backward.

    Unbiased for the experts; for the router exact in expectation where the loss is quadratic in y and t = 1, biased
    otherwise. Costs K experts in training, 1 after.

    Args:
        in_features: D.
        num_experts: K.
        temperature: t: a number, a schedule, or its text form; a schedule moves by `router.estimator.set_progress`.

    Raises:
        GatewiseError: for a temperature outside of 1e-4 to 1e4.

    >>> import torch
    >>> import gatewise as gw
    >>> router = gw.nn.routers.ReinMaxRouter(64, num_experts=8, temperature=1.1)
    >>> y, routing = gw.nn.MoELayer(64, experts=8, router=router)(torch.randn(5, 64))
    >>> y.shape, router.experts_run, router.eval().experts_run
    (torch.Size([5, 64]), 8, 1)

    Reference: Liu, Dong, Liu, Yu and Gao 2023 (2304.08612).
    """

    name = "reinmax"
    reference = "Liu et al. 2023 (2304.08612)"

    def __init__(self, in_features: int, num_experts: int, temperature: float | str | Schedule = 1.0):
        super().__init__(in_features, num_experts, ReinMax(temperature))
