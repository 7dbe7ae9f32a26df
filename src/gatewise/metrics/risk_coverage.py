"""Risk against coverage: the error on the rows that a classifier is surest of, in memory that no rows add to."""

import math

import torch
from torch import Tensor

from gatewise.mixture.information import entropy

COVERAGES = (0.5, 0.8, 0.9, 0.95, 1.0)
"""The shares of the rows to keep that are told of."""
BINS = 8192
"""Of equal width, up to log C; the lowest is cut into an eighth as many, of equal width in log H."""
LEAST = 1e-9
"""Nats: all that is below is one bin."""


class Selective:
    """Counts of rows, and of those that are right, by the entropy of their prediction.

    The thresholds it tells are edges between its bins, so the coverage and the accuracy at each are exact.

    Args:
        num_classes: C.
        device: where the batches are.
    """

    def __init__(self, num_classes: int, device: torch.device | str = "cpu"):
        most = math.log(max(num_classes, 2))
        # the many rows that are nearly certain differ in the powers of ten of their entropy
        low = torch.logspace(math.log10(LEAST), math.log10(most / BINS), BINS // 8, dtype=torch.float64)
        high = torch.linspace(most / BINS, most, BINS, dtype=torch.float64)[1:]
        self.edges = torch.cat([low, high]).float().to(device)  # as predictions have them, so that both cut alike
        self.counts = torch.zeros(2, len(self.edges) + 1, dtype=torch.int64, device=device)

    def update(self, probs: Tensor, right: Tensor) -> None:
        """Add rows: p(y|x) of every class `[B, C]`, and whether the most probable class is right, bool `[B]`."""
        bins, length = torch.bucketize(entropy(probs).float(), self.edges), self.counts.shape[1]
        self.counts[0] += torch.bincount(bins, minlength=length)  # the edge before < H <= the edge
        self.counts[1] += torch.bincount(bins[right], minlength=length)

    def table(self) -> list[dict[str, float | None]]:
        """For each of `COVERAGES`, the lowest threshold that keeps that share of the rows, and what is right of them.

        Keys: `coverage`, the share asked for; `kept`, the share kept; `abstain_above`, the entropy in nats above which
        a row is left out (None: no row is); `accuracy` of the rows kept.
        """
        kept, right = self.counts.cumsum(1).tolist()
        rows, found = kept[-1], []
        for coverage in COVERAGES:
            place = next(i for i, count in enumerate(kept) if count >= coverage * rows)
            threshold = float(self.edges[place]) if kept[place] < rows else None
            found.append({
                "coverage": coverage,
                "kept": kept[place] / rows,
                "abstain_above": threshold,
                "accuracy": right[place] / kept[place],
            })  # fmt: skip
        return found
