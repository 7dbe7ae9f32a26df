"""Metrics of predicted numbers: the likelihood, the error, and whether intervals hold what they promise."""

import math
from typing import Any

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor, distributions

from gatewise.metrics.base import Seen, TargetTally, head_of
from gatewise.metrics.quantiles import mixture_quantile, of_scipy, routed
from gatewise.mixture import MixtureOfExperts, Poisson
from gatewise.mixture.likelihoods import poisson_deviance

LEVELS = (0.5, 0.9)
"""Probabilities that the central intervals promise."""
POINTS = 64
"""Quantiles that stand for each expert where its CRPS has no closed form."""


class NumberTally(TargetTally):
    """The figures of a mixture of numbers. Arguments: as `TargetTally`; quantiles are costly."""

    shift: float | None = None  # a target: squares of what is far from 0 would lose the digits of their spread

    def terms(self, seen: Seen) -> dict[str, Any]:
        """Squares and sizes of the errors, and what takes quantiles."""
        y, gate = seen.y.cpu().double(), seen.gate.cpu().double()
        means = head_of(self.mixture).mean(seen.outputs.cpu().double()).squeeze(-1)
        # float32 adds up to 1 within 1e-7, of which means far from 0 would make an error of their own
        off = (gate / gate.sum(1, keepdim=True) * means).sum(1) - y
        if not self.costly:
            return {"rmse": off**2, "mae": off.abs()}
        self.shift = float(y[0]) if self.shift is None else self.shift
        spread = {"shifted": y - self.shift, "squared": (y - self.shift) ** 2}
        return {"rmse": off**2, "mae": off.abs(), **spread, **_costly(self.mixture, seen.x, y.numpy())}

    def result(self) -> dict[str, float | int]:
        """The figures of all rows so far.

        Keys: `nll` (a density's, per unit of y), `nll_top1`, `jensen`, `bound_gap`, `rmse`, `mae` (of the mean), those
        of the gate as in `gatewise.metrics.Evaluation`, and `rows`; where they are wanted `crps`, and of each
        central interval `coverage_50`, `width_50`, `coverage_90`, …; for counts `poisson_deviance` of the mean; `r2`,
        the share of the targets' variance that the mean explains, where they differ.

        Raises:
            GatewiseError: if there were no rows.
        """
        found = super().result()
        variance = found.pop("squared", 0.0) - found.pop("shifted", 0.0) ** 2
        explained = {"r2": 1 - found["rmse"] / variance} if variance > 0 else {}
        return found | {"rmse": math.sqrt(found["rmse"])} | explained


def _costly(mixture: MixtureOfExperts, x: Tensor, y: np.ndarray) -> dict[str, np.ndarray]:
    gate, of_experts = gate_and_experts(mixture, x)
    found = {"crps": crps(gate, of_experts, y)}
    for level in LEVELS:
        low, high = (mixture_quantile(gate, of_experts, q) for q in ((1 - level) / 2, (1 + level) / 2))
        found[f"coverage_{100 * level:.0f}"] = ((low <= y) & (y <= high)).astype(float)
        found[f"width_{100 * level:.0f}"] = high - low
    if isinstance(mixture.head, Poisson):
        mean = (gate * of_experts.mean.numpy()).sum(1)
        found["poisson_deviance"] = poisson_deviance(torch.from_numpy(y), torch.from_numpy(mean)).numpy()
    return found


@torch.no_grad()
def gate_and_experts(
    mixture: MixtureOfExperts, x: Tensor, route: str = "mixture", k: int = 2
) -> tuple[np.ndarray, distributions.Distribution]:
    """p(z|x) `[B, K]` as `route` leaves it, and p(y|z,x) with batch shape `[B, K]`, in float64 on the CPU."""
    mixture.check_route(route, k)
    features, logits = mixture.read(x)
    outputs = mixture.outputs(features, logits).cpu().double()
    return routed(logits.cpu().double().softmax(-1).numpy(), route, k), head_of(mixture).distribution(outputs)


def crps(gate: np.ndarray, of_experts: distributions.Distribution, y: np.ndarray) -> np.ndarray:
    """The continuous ranked probability score E|Y - y| - E|Y - Y'| / 2 of each row, `[B]`, in units of y; 0 is best.

    In closed form for Gaussians (Grimit, Gneiting, Berrocal and Johnson 2006). For others each expert is stood for by
    `POINTS` quantiles, which is right to about 2 %.
    """
    if isinstance(of_experts, distributions.Normal):
        location, scale = of_experts.loc.numpy(), of_experts.scale.numpy()
        apart = _absolute(y[:, None] - location, scale)
        between = location[:, :, None] - location[:, None]
        spread = _absolute(between, np.hypot(scale[:, :, None], scale[:, None]))
        return (gate * apart).sum(1) - np.einsum("bk,bl,bkl->b", gate, gate, spread) / 2
    parts = of_scipy(of_experts)
    points = np.stack([parts.ppf((i + 0.5) / POINTS) for i in range(POINTS)], -1).reshape(len(y), -1)
    weights = np.repeat(gate / POINTS, POINTS, axis=1)
    order = points.argsort(1)
    points, weights = np.take_along_axis(points, order, 1), np.take_along_axis(weights, order, 1)
    below = weights.cumsum(1) - weights / 2
    spread = 2 * (weights * points * (2 * below - 1)).sum(1)
    return (weights * np.abs(points - y[:, None])).sum(1) - spread / 2


def _absolute(off: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """E|X| of X ~ N(off, scale²)."""
    return 2 * scale * norm.pdf(off / scale) + off * (2 * norm.cdf(off / scale) - 1)
