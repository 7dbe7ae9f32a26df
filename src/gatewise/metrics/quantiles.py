"""Quantiles of a mixture of distributions on a line."""

from typing import Any

import numpy as np
import scipy.stats
from torch import distributions

HALVINGS = 60
"""Of the bracket: to the last digits of float64."""
MANY = 1e9
"""Counts from which a Poisson distribution is nearly normal."""


def mixture_quantile(gate: np.ndarray, of_experts: distributions.Distribution, q: float) -> np.ndarray:
    """The least y with P(Y <= y) >= q, `[N]`: by halving between the experts' own least and greatest quantile.

    Args:
        gate: p(z|x), `[N, K]`.
        of_experts: p(y|z,x), with batch shape `[N, K]`.
        q: above 0 and below 1.
    """
    parts = of_scipy(of_experts)
    own = parts.ppf(q)
    low, high = own.min(1), own.max(1)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = (gate * parts.cdf(middle[:, None])).sum(1) < q
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.round(high) if isinstance(of_experts, distributions.Poisson) else high


class _Counts:
    """scipy's Poisson distribution, whose `ppf` is NaN from rates of about 1e12 on.

    Beyond `MANY` it is told by the normal distribution with its skewness (Cornish and Fisher 1938), right to a count.
    """

    def __init__(self, rate: np.ndarray):
        self.rate, self.few = rate, scipy.stats.poisson(np.minimum(rate, MANY))
        self.cdf = scipy.stats.poisson(rate).cdf

    def ppf(self, q: float) -> np.ndarray:
        z = scipy.stats.norm.ppf(q)
        many = np.ceil(self.rate + np.sqrt(self.rate) * z + (z * z - 1) / 6)
        return np.where(self.rate > MANY, many, self.few.ppf(q))


def of_scipy(distribution: distributions.Distribution) -> Any:
    """The same distribution with `cdf` and `ppf`, which torch has for few."""
    if isinstance(distribution, distributions.Poisson):
        return _Counts(distribution.rate.numpy())
    if isinstance(distribution, distributions.StudentT):
        return scipy.stats.t(distribution.df.numpy(), distribution.loc.numpy(), distribution.scale.numpy())
    assert isinstance(distribution, distributions.Normal)
    return scipy.stats.norm(distribution.loc.numpy(), distribution.scale.numpy())


def routed(gate: np.ndarray, route: str, k: int) -> np.ndarray:
    """The gate's probabilities `[N, K]` with all but the first 1 or k set to 0, as `route` says."""
    if route == "mixture":
        return gate
    out = gate.argsort(1)[:, : -1 if route == "top1" else gate.shape[1] - k]
    left = gate.copy()
    np.put_along_axis(left, out, 0.0, axis=1)
    return left / left.sum(1, keepdims=True)
