"""Objectives that a mixture maximises, and regularisers of its gate.

>>> import torch
>>> import gatewise as gw
>>> mixture = gw.MixtureOfExperts(torch.nn.Linear(4, 3), gw.MLPBank(3, 4, (), 2))
>>> x, y = torch.randn(5, 4), torch.tensor([0, 1, 0, 1, 1])
>>> objective = gw.objectives.get("jensen", estimator="score-function", num_samples=1)
>>> objective(mixture.observe(x, y)).value.shape  # [B], to be maximised
torch.Size([5])
"""

from gatewise.objectives.base import Objective
from gatewise.objectives.bounds import Jensen, Marginal
from gatewise.objectives.evidence import Evidence, InferenceNetwork
from gatewise.objectives.hard_em import HardEM
from gatewise.objectives.multi_sample import MultiSample
from gatewise.objectives.registry import (
    estimator_options,
    get,
    get_fitting,
    make_estimator,
    named,
    names,
    options,
    owners,
    register,
)
from gatewise.objectives.regularisers import (
    REGULARISERS,
    Dirichlet,
    GateEntropy,
    Importance,
    Load,
    MutualInformation,
    Prior,
    Regulariser,
    ZLoss,
    regularisers,
)
from gatewise.objectives.stratified import Stratified
from gatewise.objectives.vimco import VIMCO

__all__ = [
    "REGULARISERS",
    "VIMCO",
    "Dirichlet",
    "Evidence",
    "GateEntropy",
    "HardEM",
    "Importance",
    "InferenceNetwork",
    "Jensen",
    "Load",
    "Marginal",
    "MultiSample",
    "MutualInformation",
    "Objective",
    "Prior",
    "Regulariser",
    "Stratified",
    "ZLoss",
    "estimator_options",
    "get",
    "get_fitting",
    "make_estimator",
    "named",
    "names",
    "options",
    "owners",
    "register",
    "regularisers",
]
