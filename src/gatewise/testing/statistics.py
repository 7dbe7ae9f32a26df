"""Statistical tests with a stated false-alarm rate and a stated power.

A suite may make up to `CHECKS` statistical checks, and each raises a false alarm with probability at most
`ALPHA = FALSE_ALARM / CHECKS`, so that the suite does with probability at most `FALSE_ALARM`. Seeds are fixed, so a
check that passes once passes always: the rate says how far a seed had to be looked for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

FALSE_ALARM = 1e-6
CHECKS = 1000
ALPHA = FALSE_ALARM / CHECKS
"""The level of one statistical check: a thousand of them raise one false alarm in a million runs."""
POWER = 0.99


def seeded(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A new generator."""
    return torch.Generator(device).manual_seed(seed)


def chi_square_p(statistic: float, degrees: int, noncentrality: float = 0.0) -> float:
    """P(χ² > statistic), with `degrees` degrees of freedom, central or not."""
    # a noncentral χ² is a Poisson mixture of central ones; the terms left out weigh less than 1e-15
    terms = torch.arange(int(noncentrality + 12 * noncentrality**0.5) + 20, dtype=torch.float64)
    half = torch.tensor(noncentrality / 2, dtype=torch.float64)
    weights = (torch.xlogy(terms, half) - half - torch.lgamma(terms + 1)).exp()
    tails = torch.special.gammaincc(degrees / 2 + terms, torch.full_like(terms, statistic / 2))
    return (weights * tails).sum().item()


@cache
def noncentrality(degrees: int) -> float:
    """The smallest noncentrality that a χ² test at ALPHA finds with probability `POWER`."""
    critical = _solve(lambda statistic: chi_square_p(statistic, degrees) < ALPHA)
    return _solve(lambda shift: chi_square_p(critical, degrees, shift) > POWER)


def frequency_p(counts: Tensor, probs: Tensor) -> float:
    """p-value of counts `[K]` under the probabilities `[K]`; a count where the probability is 0 gives 0."""
    counts, probs = counts.double(), probs.double()
    if bool((counts[probs == 0] > 0).any()):
        return 0.0
    counts, probs = counts[probs > 0], probs[probs > 0]
    expected = probs * counts.sum()
    return chi_square_p(((counts - expected).square() / expected).sum().item(), len(counts) - 1)


@dataclass(frozen=True)
class SampleMoments:
    """What the tests below need of samples `[R, D]`: their number, sum and sum of outer products, in float64.

    Two add up, so that more can be drawn until a test has its power without keeping what was drawn.
    """

    number: int
    total: Tensor
    products: Tensor

    @classmethod
    def of(cls, samples: "Tensor | SampleMoments") -> "SampleMoments":
        """The moments of `samples` `[R, D]`, or those given."""
        if isinstance(samples, SampleMoments):
            return samples
        samples = samples.detach().double()
        return cls(len(samples), samples.sum(0), samples.T @ samples)

    def __add__(self, other: "SampleMoments") -> "SampleMoments":
        return SampleMoments(self.number + other.number, self.total + other.total, self.products + other.products)

    @property
    def mean(self) -> Tensor:
        """`[D]`."""
        return self.total / self.number

    @property
    def covariance(self) -> Tensor:
        """`[D, D]`."""
        return (self.products - self.number * torch.outer(self.mean, self.mean)) / (self.number - 1)


def mean_p(samples: "Tensor | SampleMoments", exact: Tensor) -> float:
    """p-value of `samples` `[R, D]` having the mean `exact` `[D]` (Hotelling's test).

    Directions in which the samples do not vary are not tested by chance: there the mean must be exact to 1e-4.
    """
    moments = SampleMoments.of(samples)
    statistic, degrees, fixed = _shift(moments, moments.mean - exact.double())
    if not fixed <= 1e-4 * max(1.0, exact.norm().item()):
        return 0.0
    return chi_square_p(statistic, degrees) if degrees else 1.0


def smallest_caught(samples: "Tensor | SampleMoments", exact: Tensor) -> float:
    """The bias along `exact`, relative to its norm, that `mean_p` < ALPHA finds with probability > .99."""
    statistic, degrees, fixed = _shift(SampleMoments.of(samples), exact.double())
    if fixed > 1e-3 * exact.norm().item():
        return 0.0
    return (noncentrality(degrees) / max(statistic, 1e-300)) ** 0.5 if degrees else float("inf")


def _shift(moments: SampleMoments, shift: Tensor) -> tuple[float, int, float]:
    """shiftᵀ (Σ̂ / R)⁻¹ shift over the directions that vary, their number, and the shift's norm in the others."""
    if not bool(moments.products.isfinite().all()):
        return 0.0, 0, float("nan")  # a NaN among the samples: `mean_p` is then 0
    variances, directions = torch.linalg.eigh(moments.covariance)
    along = directions.T @ shift
    size = (moments.products.diagonal().mean() / moments.number).item()
    varies = variances > 1e-9 * max(1.0, size)
    statistic = (along[varies].square() / variances[varies]).sum() * moments.number
    return statistic.item(), int(varies.sum()), along[~varies].norm().item()


def _solve(beyond: Callable[[float], bool]) -> float:
    """The smallest x in [0, 10000] from which `beyond` holds."""
    low, high = 0.0, 1e4
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if beyond(middle) else (middle, high)
    return high
