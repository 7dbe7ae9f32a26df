"""Routers: how a layer chooses experts for a token, and how it learns to.

>>> import gatewise as gw
>>> gw.nn.routers.names()
['noisy-top-k', 'reinmax', ...]
>>> router = gw.nn.routers.get("softmax", in_features=64, num_experts=8, k=2, renormalise=False)
>>> layer = gw.nn.MoELayer(64, experts=8, router=router)

To add your own, subclass `Router` and decorate it with `register`.
"""

from gatewise.nn.routers.base import Router
from gatewise.nn.routers.noisy_top_k import NoisyTopKRouter
from gatewise.nn.routers.points import PointRouter, ReinMaxRouter, StraightThroughRouter
from gatewise.nn.routers.registry import get, names, options, register
from gatewise.nn.routers.score_function import ScoreFunctionRouter
from gatewise.nn.routers.sigmoid import SigmoidRouter
from gatewise.nn.routers.softmax import SoftmaxRouter
from gatewise.nn.routers.sparse_mixer import SparseMixerRouter

__all__ = [
    "NoisyTopKRouter",
    "PointRouter",
    "ReinMaxRouter",
    "Router",
    "ScoreFunctionRouter",
    "SigmoidRouter",
    "SoftmaxRouter",
    "SparseMixerRouter",
    "StraightThroughRouter",
    "get",
    "names",
    "options",
    "register",
]
