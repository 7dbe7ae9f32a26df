"""Means over seeds, with the interval that so few numbers allow."""

import math
from collections.abc import Sequence

from scipy.special import stdtrit

CONFIDENCE = 0.95


def mean_interval(values: Sequence[float]) -> dict[str, float | None]:
    """The mean, and the ends of its 95 % t interval: mean ± t(n-1) s / √n; None for the ends of a single number.

    Args:
        values: at least one number.
    """
    count = len(values)
    mean = math.fsum(values) / count
    if count == 1:
        return {"mean": mean, "low": None, "high": None}
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2)) * math.sqrt(variance / count)
    return {"mean": mean, "low": mean - half, "high": mean + half}
