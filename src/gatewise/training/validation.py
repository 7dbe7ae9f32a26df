"""What an epoch is judged by."""

import torch
from torch import Tensor

from gatewise.diagnostics import evaluate
from gatewise.mixture import Bernoulli, Categorical, DistributionHead, MixtureOfExperts
from gatewise.training.labels import LabelTally
from gatewise.training.numbers import NumberTally
from gatewise.training.tally import TargetTally
from gatewise.training.trainer import Rows

BATCH = 4096
"""Rows at a time."""


def figures_of(
    mixture: MixtureOfExperts, rows: Rows, weight: Tensor | None, num_classes: int
) -> dict[str, float | int]:
    """The validation figures by name: those of `Evaluation` for classes, of a `TargetTally` for numbers and labels.

    With weights there is `weighted_nll` too.

    Args:
        mixture: the model; run in inference mode, and left in the mode it was in.
        rows: x and y, on the mixture's device.
        weight: of the rows, `[N]`, with mean 1.
        num_classes: C, where y are classes.
    """
    figures: dict[str, float | int] = {}
    if isinstance(mixture.head, Categorical):
        figures = evaluate(mixture, *rows, num_classes=num_classes).result().to_dict()
        if weight is None:
            return figures
    elif (tally := _tally(mixture)) is not None:
        figures = _cheap_figures(tally, *rows)
        if weight is None:
            return figures
    nll = _nll(mixture, *rows)
    if weight is not None:
        figures["weighted_nll"] = float((weight * nll).mean())
    return {"nll": float(nll.mean()), **figures}


def _tally(mixture: MixtureOfExperts) -> TargetTally | None:
    """What the figures are made from; None for a head of one's own that has more than a number a row."""
    if isinstance(mixture.head, Bernoulli):
        return LabelTally(mixture, costly=False)
    one = isinstance(mixture.head, DistributionHead) and not mixture.head.event_dims
    return NumberTally(mixture, costly=False) if one else None


def _cheap_figures(tally: TargetTally, x: Tensor, y: Tensor) -> dict[str, float | int]:
    was_training = tally.mixture.training
    tally.mixture.eval()
    try:
        return tally.all_of([(x, y)]).result()
    finally:
        tally.mixture.train(was_training)


@torch.no_grad()
def _nll(mixture: MixtureOfExperts, x: Tensor, y: Tensor) -> Tensor:
    """-log p(y|x) of each row, `[N]`."""
    was_training = mixture.training
    mixture.eval()
    try:
        parts = zip(x.split(BATCH), y.split(BATCH), strict=True)
        return torch.cat([-mixture.log_prob(*part) for part in parts])
    finally:
        mixture.train(was_training)
