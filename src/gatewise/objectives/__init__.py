"""Objectives: what a mixture maximises, and what is asked of its gate besides.

>>> import gatewise as gw
>>> objective = gw.objectives.get("jensen", estimator="score-function", num_samples=1)
>>> bound = objective(mixture.observe(x, y)).value      # [B], to be maximised
"""

from gatewise.objectives.base import Objective
from gatewise.objectives.bounds import Jensen, Marginal
from gatewise.objectives.registry import get, names, options, register
from gatewise.objectives.regularisers import (
    GateEntropy,
    Importance,
    Load,
    MutualInformation,
    Regulariser,
    ZLoss,
    regularisers,
)

__all__ = [
    "GateEntropy",
    "Importance",
    "Jensen",
    "Load",
    "Marginal",
    "MutualInformation",
    "Objective",
    "Regulariser",
    "ZLoss",
    "get",
    "names",
    "options",
    "register",
    "regularisers",
]
