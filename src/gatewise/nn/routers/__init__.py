"""Routers: how a layer chooses experts for a token, and how it learns to.

    >>> gw.nn.routers.names()
    ['noisy-top-k', 'reinmax', ...]
    >>> router = gw.nn.routers.get("softmax", in_features=64, num_experts=8, k=2, renormalise=False)
    >>> layer = gw.nn.MoELayer(64, experts=8, router=router)

To add your own, subclass `Router` and decorate it with `register`.
"""

from gatewise.nn.routers.base import Router
from gatewise.nn.routers.noisy import NoisyTopK
from gatewise.nn.routers.points import PointRouter, ReinMax, StraightThrough
from gatewise.nn.routers.registry import get, names, options, register
from gatewise.nn.routers.score_function import ScoreFunction
from gatewise.nn.routers.sigmoid import Sigmoid
from gatewise.nn.routers.softmax import Softmax
from gatewise.nn.routers.sparse_mixer import SparseMixer

__all__ = [
    "NoisyTopK",
    "PointRouter",
    "ReinMax",
    "Router",
    "ScoreFunction",
    "Sigmoid",
    "Softmax",
    "SparseMixer",
    "StraightThrough",
    "get",
    "names",
    "options",
    "register",
]
