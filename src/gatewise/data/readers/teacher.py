"""Synthetic data from a mixture that is known: the expert behind every row is part of the answer."""

import numpy as np
import polars as pl
from scipy.special import softmax

from gatewise.data.records import Records
from gatewise.errors import GatewiseError

SHARPNESS = 0.95  # the gate's mean top probability
DECIDED = 6.0  # standard deviation of the experts' logits


def teacher(rows: int = 20000, experts: int = 8, features: int = 16, classes: int = 4, seed: int = 0) -> Records:
    """Rows of a mixture of `experts` linear classifiers, as a table x0, x1, ... with labels "0", "1", ...

    x ~ N(0, I); z ~ softmax(s (x W + b)), with s such that the mean top probability is about 0.95 and b such
    that the experts have about equal shares; y ~ softmax(x V_z). `truth` holds z, int64 [rows]. The mixture
    depends on the seed and the sizes, not on `rows`. Raises GatewiseError for sizes that make no mixture.
    """
    if rows < 1 or experts < 2 or features < 1 or classes < 2:
        raise GatewiseError(
            f"teacher: rows={rows}, experts={experts}, features={features}, classes={classes}; "
            "give at least 1 row, 2 experts, 1 feature and 2 classes"
        )
    rng = np.random.default_rng(seed)
    weight, bias = _gate(rng, experts, features)
    expert_weights = rng.normal(scale=DECIDED / features**0.5, size=(experts, features, classes))
    x = rng.normal(size=(rows, features))
    z = _draw(rng, softmax(x @ weight + bias, axis=1))
    y = np.empty(rows, dtype=np.int64)
    for expert in range(experts):
        mine = z == expert
        y[mine] = _draw(rng, softmax(x[mine] @ expert_weights[expert], axis=1))
    return Records(
        features=pl.DataFrame({f"x{d}": x[:, d] for d in range(features)}),
        labels=y.astype(str).astype(object),
        name="teacher",
        target="target",
        truth=z,
    )


def teacher_gate(rows: Records, experts: int = 8, seed: int = 0) -> np.ndarray:
    """p(z|x) of the mixture that `teacher` draws with these sizes and seed, on its rows: `[N, K]`."""
    x = np.asarray(rows.features)
    weight, bias = _gate(np.random.default_rng(seed), experts, x.shape[1])
    return softmax(x @ weight + bias, axis=1)


def _gate(rng: np.random.Generator, experts: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights [D, K] and biases [K], tuned on a sample: sharp enough, and every expert its share."""
    scores = rng.normal(size=(4096, features)) @ (weight := rng.normal(size=(features, experts)))
    scale, bias = 1.0, np.zeros(experts)
    for _ in range(100):
        probability = softmax(scale * (scores + bias), axis=1)
        scale *= np.exp(4 * (SHARPNESS - probability.max(axis=1).mean()))
        bias -= np.log(experts * probability.mean(axis=0) + 1e-12) / scale
    return scale * weight, scale * bias


def _draw(rng: np.random.Generator, probability: np.ndarray) -> np.ndarray:
    """One category a row of [N, K], int64 [N], by Gumbel's trick."""
    return np.argmax(np.log(probability + 1e-300) + rng.gumbel(size=probability.shape), axis=1)
