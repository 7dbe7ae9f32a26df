"""Mixtures of experts: a gate that chooses, experts that answer."""

from gatewise.mixture.conv import ConvExpert
from gatewise.mixture.distribution_heads import Bernoulli, DistributionHead, Gaussian, Poisson, StudentT
from gatewise.mixture.experts import ExpertList, Experts
from gatewise.mixture.heads import Categorical, Head
from gatewise.mixture.mixture import MixtureOfExperts, Observed
from gatewise.mixture.perceptrons import MLPBank, mlp
from gatewise.mixture.sparse_gates import Entmax15, Sparsemax, entmax15, sparsemax

__all__ = [
    "Bernoulli",
    "Categorical",
    "ConvExpert",
    "DistributionHead",
    "Entmax15",
    "ExpertList",
    "Experts",
    "Gaussian",
    "Head",
    "MLPBank",
    "MixtureOfExperts",
    "Observed",
    "Poisson",
    "Sparsemax",
    "StudentT",
    "entmax15",
    "mlp",
    "sparsemax",
]
