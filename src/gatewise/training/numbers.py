"""How well a mixture predicts numbers: the likelihood, the error, and whether its intervals hold what they promise."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.special import xlogy
from scipy.stats import norm
from torch import Tensor, distributions

from gatewise.errors import GatewiseError
from gatewise.mixture import DistributionHead, MixtureOfExperts, Poisson
from gatewise.mixture.usage import effective_experts, entropy, experts_used, mutual_information
from gatewise.training.quantiles import mixture_quantile, of_scipy, routed

LEVELS = (0.5, 0.9)
"""Probabilities that the central intervals promise."""
POINTS = 64
"""Quantiles that stand for each expert where its CRPS has no closed form."""
BATCH = 1024
CHEAP = ("rmse", "mae", "nll", "nll_top1", "jensen", "gate_entropy")
"""What an epoch is judged by, of each row."""


class NumberTally:
    """Sums over rows, batch by batch, from which the figures of a mixture of numbers are made; no row is kept.

    Args:
        mixture: run in the mode that it is in.
        costly: measure what takes quantiles too.
    """

    def __init__(self, mixture: MixtureOfExperts, costly: bool = True):
        self.mixture, self.costly, self.rows = mixture, costly, 0
        self.sums: dict[str, float] = {}
        self.gate = torch.zeros(mixture.num_experts, dtype=torch.float64)
        self.argmax_counts = torch.zeros(mixture.num_experts, dtype=torch.int64)

    @torch.no_grad()
    def update(self, x: Tensor, y: Tensor) -> None:
        """Add rows x `[B, ...]` with numbers y `[B]`."""
        device = next(self.mixture.parameters()).device
        for rows, numbers in zip(x.split(BATCH), y.split(BATCH), strict=True):
            sums = self._cheap(rows.to(device), numbers.to(device))
            if self.costly:
                sums |= _costly(self.mixture, rows.to(device), numbers.cpu().double().numpy())
            self.sums = {name: self.sums.get(name, 0.0) + float(term.sum()) for name, term in sums.items()}
            self.rows += len(rows)

    def _cheap(self, x: Tensor, y: Tensor) -> dict[str, Any]:
        head, (features, logits) = _head(self.mixture), self.mixture.read(x)
        outputs, log_gate = self.mixture.experts(features), logits.log_softmax(-1)
        of_experts = head.log_prob(outputs, y.unsqueeze(1).expand(outputs.shape[:2]))
        gate, first = log_gate.exp(), log_gate.argmax(-1, keepdim=True)
        off = ((gate.unsqueeze(-1) * head.mean(outputs)).sum(1).squeeze(-1) - y).cpu().double()
        self.gate += gate.cpu().double().sum(0)
        self.argmax_counts += torch.bincount(first.squeeze(1).cpu(), minlength=len(self.argmax_counts))
        terms = {
            "nll": -(log_gate + of_experts).logsumexp(-1),
            "nll_top1": -of_experts.gather(1, first),
            "jensen": torch.where(gate > 0, gate * of_experts, 0.0).sum(-1),
            "gate_entropy": entropy(gate),
        }
        return {"rmse": off**2, "mae": off.abs()} | {name: term.cpu().double() for name, term in terms.items()}

    def reduce(self, reduce: Callable[[Tensor], Tensor]) -> None:
        """Make this the tally of the rows of all processes, of what is cheap.

        Args:
            reduce: a tensor to its sum over the processes; called once.
        """
        numbers = torch.tensor([self.rows, *(self.sums.get(name, 0.0) for name in CHEAP)], dtype=torch.float64)
        whole = reduce(torch.cat([numbers, self.gate, self.argmax_counts]))
        self.rows, self.sums = int(whole[0]), dict(zip(CHEAP, whole[1 : 1 + len(CHEAP)].tolist(), strict=True))
        self.gate, counts = whole[1 + len(CHEAP) :].chunk(2)
        self.argmax_counts = counts.long()

    def result(self) -> dict[str, float | int]:
        """The figures of all rows so far.

        Keys: `nll` (a density's, per unit of y), `nll_top1`, `jensen`, `bound_gap`, `rmse`, `mae` (of the mean), those
        of the gate as in `gatewise.diagnostics.Evaluation`, and `rows`; where they are wanted `crps`, and of each
        central interval `coverage_50`, `width_50`, `coverage_90`, …; for counts `poisson_deviance` of the mean.

        Raises:
            GatewiseError: if there were no rows.
        """
        if not self.rows:
            raise GatewiseError("there are no rows to evaluate; give data with at least one row")
        means: dict[str, float | int] = {name: total / self.rows for name, total in self.sums.items()}
        mean_gate, used = self.gate / self.rows, int(experts_used(self.argmax_counts))
        return means | {
            "rmse": math.sqrt(means["rmse"]),
            "bound_gap": max(0.0, -means["nll"] - means["jensen"]),
            "mutual_information": float(mutual_information(mean_gate, torch.as_tensor(means["gate_entropy"]))),
            "effective_experts": float(effective_experts(mean_gate)),
            "experts_used": used,
            "dead_experts": self.mixture.num_experts - used,
            "rows": self.rows,
        }


def cheap_figures(
    mixture: MixtureOfExperts, x: Tensor, y: Tensor, reduce: Callable[[Tensor], Tensor] = lambda tensor: tensor
) -> dict[str, float | int]:
    """What an epoch is judged by, of rows x `[N, ...]` and numbers y `[N]`; `reduce`: see `NumberTally.reduce`."""
    tally = NumberTally(mixture, costly=False)
    if len(x):
        tally.update(x, y)
    tally.reduce(reduce)
    return tally.result()


def evaluate_numbers(mixture: MixtureOfExperts, batches: Iterable[Sequence[Tensor]]) -> dict[str, float | int]:
    """All figures of a mixture in inference mode, over pairs of x `[B, ...]` and y `[B]`.

    Raises:
        GatewiseError: if there are no rows.
    """
    tally = NumberTally(mixture)
    for x, y in batches:
        tally.update(x, y)
    return tally.result()


def _costly(mixture: MixtureOfExperts, x: Tensor, y: np.ndarray) -> dict[str, np.ndarray]:
    gate, of_experts = gate_and_experts(mixture, x)
    found = {"crps": crps(gate, of_experts, y)}
    for level in LEVELS:
        low, high = (mixture_quantile(gate, of_experts, q) for q in ((1 - level) / 2, (1 + level) / 2))
        found[f"coverage_{100 * level:.0f}"] = ((low <= y) & (y <= high)).astype(float)
        found[f"width_{100 * level:.0f}"] = high - low
    if isinstance(mixture.head, Poisson):
        mean = (gate * of_experts.mean.numpy()).sum(1)
        found["poisson_deviance"] = 2 * (xlogy(y, y / mean) - y + mean)
    return found


@torch.no_grad()
def gate_and_experts(
    mixture: MixtureOfExperts, x: Tensor, route: str = "mixture", k: int = 2
) -> tuple[np.ndarray, distributions.Distribution]:
    """p(z|x) `[B, K]` as `route` leaves it, and p(y|z,x) with batch shape `[B, K]`, in float64 on the CPU."""
    mixture.check_route(route, k)
    features, logits = mixture.read(x)
    outputs = mixture.experts(features).cpu().double()
    return routed(logits.cpu().double().softmax(-1).numpy(), route, k), _head(mixture).distribution(outputs)


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


def predicted_numbers(mixture: MixtureOfExperts, x: Tensor, route: str, k: int) -> dict[str, Any]:
    """The columns of a prediction of numbers: `mean`, `sd`, and the quantiles `q05`, `q25`, `q50`, `q75`, `q95`."""
    gate, of_experts = gate_and_experts(mixture, x, route, k)
    means, variances = of_experts.mean.numpy(), of_experts.variance.numpy()
    mean = (gate * means).sum(1)
    sd = np.sqrt((gate * (variances + (means - mean[:, None]) ** 2)).sum(1))
    quantiles = {f"q{100 * q:02.0f}": mixture_quantile(gate, of_experts, q) for q in (0.05, 0.25, 0.5, 0.75, 0.95)}
    return {"mean": mean, "sd": sd, **quantiles}


def _head(mixture: MixtureOfExperts) -> DistributionHead:
    assert isinstance(mixture.head, DistributionHead)
    return mixture.head
