"""Small settings, and rows that a mixture learns at once."""

import numpy as np
import pytest

import gatewise as gw

SMALL = {
    "n_experts": 3,
    "expert_hidden": (16,),
    "epochs": 10,
    "batch_size": 64,
    "lr": 0.05,
    "dropout": 0.1,
    "random_state": 0,
}


@pytest.fixture
def make():
    return lambda **options: gw.sklearn.MixtureOfExpertsClassifier(**{"random_state": 0, **SMALL, **options})


@pytest.fixture(scope="session")
def blobs():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 240)
    return np.array([[2.0, 0, 1], [-2, 0, 1], [0, 3, 1]])[y] + 0.6 * rng.normal(size=(240, 3)), y
