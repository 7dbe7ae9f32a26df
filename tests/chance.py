"""Statistical tests with a stated false-alarm rate.

The suite makes fewer than `CHECKS` statistical checks, and each raises a false alarm with probability at most
`FALSE_ALARM / CHECKS`, so that the suite does with probability at most `FALSE_ALARM`. Seeds are fixed, so a check that
passes once passes always: the rate says how far a seed had to be looked for.
"""

import torch
from torch import Tensor

FALSE_ALARM = 1e-6
CHECKS = 100
ALPHA = FALSE_ALARM / CHECKS
NONCENTRALITY = 100.0
"""A χ² test of up to 6 degrees of freedom at ALPHA finds a shift of this noncentrality with probability > .99."""


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chi_square_p(statistic: float, degrees: int) -> float:
    """P(χ²_degrees > statistic)."""
    half = torch.tensor([degrees, statistic], dtype=torch.float64) / 2
    return torch.special.gammaincc(half[0], half[1]).item()


def frequency_p(counts: Tensor, probs: Tensor) -> float:
    """p-value of counts `[K]` under the probabilities `[K]`; a count where the probability is 0 gives 0."""
    counts, probs = counts.double(), probs.double()
    if bool((counts[probs == 0] > 0).any()):
        return 0.0
    counts, probs = counts[probs > 0], probs[probs > 0]
    expected = probs * counts.sum()
    return chi_square_p(((counts - expected).square() / expected).sum().item(), len(counts) - 1)


def mean_p(samples: Tensor, exact: Tensor) -> float:
    """p-value of `samples` `[R, D]` having the mean `exact` `[D]` (Hotelling's test).

    Directions in which the samples do not vary are not tested by chance: there the mean must be exact to 1e-4.
    """
    statistic, degrees, fixed = _shift(samples, samples.double().mean(0) - exact.double())
    if fixed > 1e-4 * max(1.0, exact.norm().item()):
        return 0.0
    return chi_square_p(statistic, degrees)


def smallest_caught(samples: Tensor, exact: Tensor) -> float:
    """The bias along `exact`, relative to its norm, that `mean_p` < ALPHA finds with probability > .99."""
    statistic, _, fixed = _shift(samples, exact.double())
    seen = statistic + (torch.inf if fixed > 1e-3 * exact.norm().item() else 0.0)
    return (NONCENTRALITY / max(seen, 1e-300)) ** 0.5


def _shift(samples: Tensor, shift: Tensor) -> tuple[float, int, float]:
    """shiftᵀ (Σ̂ / R)⁻¹ shift over the directions that vary, their number, and the shift's norm in the others."""
    samples = samples.double()
    centred = samples - samples.mean(0)
    variances, directions = torch.linalg.eigh(centred.T @ centred / (len(samples) - 1))
    along = directions.T @ shift
    varies = variances > 1e-9 * max(1.0, samples.square().mean().item())
    statistic = (along[varies].square() / variances[varies]).sum() * len(samples)
    return statistic.item(), int(varies.sum()), along[~varies].norm().item()
