"""The weights of unordered sets beside the numbers that they must be, as sets and domains grow."""

from typing import Any

import mpmath
import torch

import gatewise as gw
from gatewise.estimators.unordered_set import NODES, set_weights
from gatewise.testing import seeded

SIZES = ((6, 2), (6, 5), (64, 16), (64, 32), (256, 64), (4096, 128), (4096, 256))
SCALES = (0.0, 1e-3, 1.0, 3.0, 10.0, 1e4)
SETS = 20


def set_integrals(odds: list[float]) -> list[float]:
    """∫ e^{-t} Π (1 - e^{-a t}) dt of all odds a, of all but the first, and of all but the first two, to 20 digits.

    With y = log t, by the trapezoid rule from end to end: each node costs as many exponentials as there are odds.
    """
    with mpmath.workdps(25):
        totals = [mpmath.mpf(0)] * 3
        for node in range(-760, 131):
            y = mpmath.mpf(node) / 20
            t = mpmath.exp(y)
            factors = [-mpmath.expm1(-a * t) for a in odds]
            mass = mpmath.exp(y - t) * mpmath.fprod(factors[2:])
            masses = mass * factors[1] * factors[0], mass * factors[1], mass
            totals = [total + mass for total, mass in zip(totals, masses, strict=True)]
        return [float(mpmath.log(total)) for total in totals]


def to_20_digits(categories: int, size: int, scale: float) -> float:
    """The largest relative error of π_s R(S,s) and π_s′ R(S∖s,s′), for the first two of one set."""
    log_probs = (scale * torch.randn(categories, generator=seeded(9), dtype=torch.float64)).log_softmax(-1)
    named = gw.noise.without_replacement(log_probs, size, seeded(4))
    weights, shares = set_weights(log_probs, named, torch.ones(size, dtype=torch.bool), second=True)
    assert shares is not None
    rest = log_probs.scatter(0, named, -torch.inf).logsumexp(0)
    logs = set_integrals((log_probs[named] - rest).exp().tolist())
    found = torch.stack([weights[0], shares[0, 1]]).log() - log_probs[named[:2]]
    right = torch.tensor([logs[1] - logs[0], logs[2] - logs[1]], dtype=torch.float64)
    return (found - right).abs().max().item()


def of_a_constant(categories: int, size: int, scale: float, dtype: torch.dtype = torch.float64) -> tuple[float, float]:
    """For f = 1: how far the value of any of `SETS` draws is from 1, and the largest gradient of a logit."""
    count = SETS if categories < 1000 else 2
    logits = (scale * torch.randn(count, categories, generator=seeded(3), dtype=torch.float64)).to(dtype)
    logits.requires_grad_()
    f = gw.by_index(lambda index: torch.ones_like(index, dtype=dtype))
    value = gw.expect(f, logits, gw.estimators.get("unordered-set"), size, seeded(4)).value
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    return (value - 1).abs().max().item(), gradient.abs().max().item()


def rows() -> list[dict[str, Any]]:
    """A row of the table for each size."""
    made = []
    for categories, size in SIZES:
        wide = [of_a_constant(categories, size, scale) for scale in SCALES]
        narrow = [of_a_constant(categories, size, scale, torch.float32) for scale in SCALES]
        made.append(
            {
                "K": categories,
                "S": size,
                "value of f = 1 off by": f"{max(value for value, _ in wide):.1e}",
                "its gradient": f"{max(slope for _, slope in wide):.1e}",
                "in float32": f"{max(map(max, narrow)):.1e}",
                "weights off by": f"{max(to_20_digits(categories, size, scale) for scale in (0.5, 3.0)):.1e}",
                "numbers an example": f"{size * (NODES + size):,}",
            }
        )
    return made
