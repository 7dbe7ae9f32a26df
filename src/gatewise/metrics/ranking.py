"""AUC and average precision of scores, batch by batch, in bounded memory."""

import torch
from torch import Tensor

MOST_COLUMNS = 100
"""Columns of scores that are ranked; of more nothing is kept."""
HELD = 2**22
"""Different scores that are kept, all columns together: up to so many the figures are exact."""


class Ranking:
    """Counts of rows with and without a property, by score, for L properties at once.

    Memory does not grow with the rows: beyond `held` different scores the last bits of all are dropped, one by one, and
    rows that then have equal scores count as ties, as half of a pair in the AUC.

    Args:
        columns: L; beyond `MOST_COLUMNS` nothing is counted and every figure is NaN.
        held: different scores to keep.

    Example:
        >>> ranking = Ranking(1)
        >>> ranking.update(torch.tensor([[0.1], [0.4], [0.35], [0.8]]), torch.tensor([[0], [0], [1], [1]]).bool())
        >>> auc, average_precision = ranking.result()
        >>> print(f"{auc.item():.3f} {average_precision.item():.3f}")
        0.750 0.833
    """

    def __init__(self, columns: int, held: int = HELD):
        self.columns, self.held, self.dropped = columns, held, 0
        self.keys = torch.empty(0, dtype=torch.int64)
        self.counts = torch.empty(2, 0, dtype=torch.int64)  # of rows without and with the property
        self.waiting: list[tuple[Tensor, Tensor]] = []
        self.waits = 0

    def update(self, scores: Tensor, positive: Tensor) -> None:
        """Add rows: scores >= 0 `[B, L]`, larger where it is likelier, and whether they have it, bool `[B, L]`."""
        if self.columns > MOST_COLUMNS or not len(scores):
            return
        # floats that are not negative are ordered as their bits are; the column stands before them
        bits = scores.detach().float().cpu().contiguous().view(torch.int32).long()
        keys = (bits >> self.dropped) + (torch.arange(self.columns) << 32)
        self.waiting.append((keys.flatten(), positive.cpu().flatten()))
        self.waits += keys.numel()
        if self.waits > self.held:
            self._count()

    def result(self) -> tuple[Tensor, Tensor]:
        """AUC and average precision of each property, float64 `[L]` each; NaN where all rows, or none, have it.

        The average precision is Σ (recall step) · precision over falling scores, as scikit-learn's.
        """
        if self.columns > MOST_COLUMNS:
            return torch.full((self.columns,), torch.nan), torch.full((self.columns,), torch.nan)
        self._count()
        column = self.keys >> 32
        figures = [_figures(self.counts[:, column == each].double()) for each in range(self.columns)]
        auc, precision = torch.tensor(figures, dtype=torch.float64).view(self.columns, 2).unbind(1)
        return auc, precision

    def _count(self) -> None:
        """Put what waits with what is counted; drop bits until there are few enough different scores."""
        if self.waiting:
            keys, positive = (torch.cat(parts) for parts in zip(*self.waiting, strict=True))
            own = torch.stack([~positive, positive]).long()
            self._merge(torch.cat([self.keys, keys]), torch.cat([self.counts, own], dim=1))
            self.waiting, self.waits = [], 0
        while len(self.keys) > self.held:
            self.dropped += 1
            bits = (self.keys & (2**32 - 1)) >> 1
            self._merge(bits + (self.keys >> 32 << 32), self.counts)

    def _merge(self, keys: Tensor, counts: Tensor) -> None:
        self.keys, place = keys.unique(return_inverse=True)
        self.counts = counts.new_zeros(2, len(self.keys)).index_add_(1, place, counts)


def _figures(counts: Tensor) -> tuple[float, float]:
    """AUC and average precision from counts of rows without and with the property `[2, N]`, by rising score."""
    without, having = counts
    total = counts.sum(1)
    if not bool((total > 0).all()):
        return float("nan"), float("nan")
    pairs = having @ (without.cumsum(0) - without / 2)
    falling = counts.flip(1).cumsum(1)
    precision = falling[1] / falling.sum(0)
    return float(pairs / total.prod()), float(having.flip(0) @ precision / total[1])
