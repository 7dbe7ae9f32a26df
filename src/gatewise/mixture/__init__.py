"""Mixtures of experts: a gate that chooses, experts that answer."""

from gatewise.mixture.conv import ConvExpert, ConvGate, ConvNet
from gatewise.mixture.experts import ExpertList, Experts
from gatewise.mixture.gates.balance import BalanceBias
from gatewise.mixture.gates.gate import Gate
from gatewise.mixture.gates.sparse import Entmax15, Sparsemax, entmax15, sparsemax
from gatewise.mixture.gates.top_k import NoisyTopK
from gatewise.mixture.heads import Bernoulli, Categorical, DistributionHead, Gaussian, Head, Poisson, StudentT
from gatewise.mixture.hierarchy import by_leaf, leaf_names
from gatewise.mixture.information import Uncertainty
from gatewise.mixture.mixture import MixtureOfExperts, Observed
from gatewise.mixture.mlp import MLPBank, mlp
from gatewise.mixture.surgery import add_expert, remove_expert

__all__ = [
    "BalanceBias",
    "Bernoulli",
    "Categorical",
    "ConvExpert",
    "ConvGate",
    "ConvNet",
    "DistributionHead",
    "Entmax15",
    "ExpertList",
    "Experts",
    "Gate",
    "Gaussian",
    "Head",
    "MLPBank",
    "MixtureOfExperts",
    "NoisyTopK",
    "Observed",
    "Poisson",
    "Sparsemax",
    "StudentT",
    "Uncertainty",
    "add_expert",
    "by_leaf",
    "entmax15",
    "leaf_names",
    "mlp",
    "remove_expert",
    "sparsemax",
]
