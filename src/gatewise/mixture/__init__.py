"""Mixtures of experts: a gate that chooses, experts that answer."""

from gatewise.mixture.conv import ConvExpert
from gatewise.mixture.experts import ExpertList, Experts
from gatewise.mixture.heads import Categorical, Head
from gatewise.mixture.mixture import MixtureOfExperts, Observed
from gatewise.mixture.perceptrons import MLPBank, mlp
from gatewise.mixture.sparse_gates import Entmax15, Sparsemax, entmax15, sparsemax
from gatewise.mixture.surgery import add_expert, remove_expert

__all__ = [
    "Categorical",
    "ConvExpert",
    "Entmax15",
    "ExpertList",
    "Experts",
    "Head",
    "MLPBank",
    "MixtureOfExperts",
    "Observed",
    "Sparsemax",
    "add_expert",
    "entmax15",
    "mlp",
    "remove_expert",
    "sparsemax",
]
