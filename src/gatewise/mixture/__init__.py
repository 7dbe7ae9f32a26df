"""Mixtures of experts: a gate that chooses, experts that answer."""

from gatewise.mixture.balance import BalanceBias
from gatewise.mixture.conv import ConvExpert, ConvGate, ConvNet
from gatewise.mixture.distribution_heads import Bernoulli, DistributionHead, Gaussian, Poisson, StudentT
from gatewise.mixture.experts import ExpertList, Experts
from gatewise.mixture.gates import Gate, Temperature
from gatewise.mixture.heads import Categorical, Head
from gatewise.mixture.leaves import by_leaf, leaf_names
from gatewise.mixture.mixture import MixtureOfExperts, Observed
from gatewise.mixture.perceptrons import MLPBank, mlp
from gatewise.mixture.sparse_gates import Entmax15, Sparsemax, entmax15, sparsemax
from gatewise.mixture.surgery import add_expert, remove_expert
from gatewise.mixture.top_k import NoisyTopK
from gatewise.mixture.uncertainty import Uncertainty

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
    "Temperature",
    "Uncertainty",
    "add_expert",
    "by_leaf",
    "entmax15",
    "leaf_names",
    "mlp",
    "remove_expert",
    "sparsemax",
]
