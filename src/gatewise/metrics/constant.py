"""The yardstick of a model: the best answer that does not look at the row, from the rows trained on."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def constant_answer(head: str, num_classes: int, y: Tensor) -> dict[str, Any]:
    """What is answered to every row.

    Args:
        head: by name.
        num_classes: C, for the head categorical.
        y: targets of the rows trained on: classes int64 `[N]`, labels `[N, L]`, or numbers `[N]`.

    Returns:
        `shares`, the frequencies of the classes or of the labels; or `mean` and `median` of the numbers.
    """
    if head == "categorical":
        return {"shares": (torch.bincount(y.cpu(), minlength=num_classes).double() / len(y)).tolist()}
    y = y.cpu().double()
    if y.dim() == 2:
        return {"shares": y.mean(0).tolist()}
    return {"mean": float(y.mean()), "median": float(np.median(y.numpy()))}


class ConstantFigures:
    """How good such an answer is on rows, batch by batch.

    Args:
        answer: as `constant_answer` makes it; without its keys, as older runs kept none, nothing is measured.
    """

    def __init__(self, answer: dict[str, Any]):
        shares = answer.get("shares")
        self.shares = None if shares is None else torch.tensor(shares, dtype=torch.float64)
        self.numbers = [answer.get("mean"), answer.get("median")]
        self.sums: dict[str, float] = {}
        self.rows = 0

    def update(self, y: Tensor) -> None:
        """Add rows by their targets, as in `constant_answer`."""
        y = y.cpu()
        if self.shares is not None and y.dim() == 2:
            y = y.double()
            # a label that no row had, or all had, in training is certain: a row that differs costs infinitely much
            log_p = torch.where(y > 0.5, self.shares.log(), (-self.shares).log1p()).sum(1)
            terms = {"nll": -log_p, "accuracy": ((self.shares > 0.5) == (y > 0.5)).double().mean(1)}
        elif self.shares is not None:
            terms = {"nll": -self.shares.log()[y], "accuracy": (y == self.shares.argmax()).double()}
        elif None not in self.numbers:
            mean, median = (float(number) for number in self.numbers if number is not None)
            terms = {"rmse": (y.double() - mean) ** 2, "mae": (y.double() - median).abs()}
        else:
            return
        self.rows += len(y)
        self.sums = {name: self.sums.get(name, 0.0) + float(term.sum()) for name, term in terms.items()}

    def result(self) -> dict[str, float]:
        """`constant_nll`, `constant_accuracy`; or `constant_rmse`, of the mean, and `constant_mae`, of the median."""
        if not self.rows:
            return {}
        means = {name: total / self.rows for name, total in self.sums.items()}
        if "rmse" in means:
            means["rmse"] **= 0.5
        return {f"constant_{name}": value for name, value in means.items() if value != float("inf")}
