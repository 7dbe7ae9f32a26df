"""What a machine can do, measured along with what is timed on it, and how sure a ratio of times is."""

import random
import statistics
import time

import torch

LEAST_RATE = 95e9
"""FLOP/s of a thread below which the roofline does not fall, however slow the multiplication in the run was."""

CLOCK = [time.perf_counter]
"""What times are taken by."""


class Machine:
    """The rates of a multiplication and of a copy, measured along with the ways."""

    def __init__(self) -> None:
        self.left, self.right, self.product = (torch.randn(2048, 2048) for _ in range(3))
        self.source, self.target = (torch.ones(2**25) for _ in range(2))
        self.multiply_s = self.copy_s = float("inf")

    def measure(self) -> None:
        started = CLOCK[0]()
        torch.mm(self.left, self.right, out=self.product)
        between = CLOCK[0]()
        self.target.copy_(self.source)
        self.multiply_s = min(self.multiply_s, between - started)
        self.copy_s = min(self.copy_s, CLOCK[0]() - between)

    @property
    def rate(self) -> float:
        return max(LEAST_RATE * torch.get_num_threads(), 2 * 2048**3 / self.multiply_s)

    @property
    def copy_rate(self) -> float:
        return 2 * 4 * self.source.numel() / self.copy_s


def interval(ours: list[float], other: list[float]) -> tuple[float, float]:
    """95 % bootstrap interval of median(ours) / median(other), rounds drawn in pairs."""
    pairs = list(zip(ours, other, strict=False))
    draw = random.Random(0)
    ratios = []
    for _ in range(1000):
        one, two = zip(*draw.choices(pairs, k=len(pairs)), strict=True)
        ratios.append(statistics.median(one) / statistics.median(two))
    ratios.sort()
    return ratios[25], ratios[974]
