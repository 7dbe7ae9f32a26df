"""Mixtures of experts: a gate that chooses, experts that answer."""

from gatewise.mixture.conv import ConvExpert
from gatewise.mixture.experts import ExpertList, Experts
from gatewise.mixture.heads import Categorical, Head
from gatewise.mixture.mixture import MixtureOfExperts, Observed
from gatewise.mixture.perceptrons import MLPBank, mlp

__all__ = [
    "Categorical",
    "ConvExpert",
    "ExpertList",
    "Experts",
    "Head",
    "MLPBank",
    "MixtureOfExperts",
    "Observed",
    "mlp",
]
