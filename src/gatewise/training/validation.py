"""What an epoch is judged by."""

import torch
from torch import Tensor

from gatewise.diagnostics.evaluation import evaluate_batches
from gatewise.distributed import ALONE, Group
from gatewise.mixture import Bernoulli, Categorical, DistributionHead, MixtureOfExperts
from gatewise.training.epoch import Rows
from gatewise.training.labels import LabelTally
from gatewise.training.numbers import NumberTally
from gatewise.training.tally import BATCH as TALLIED
from gatewise.training.tally import TargetTally

BATCH = 4096
"""Rows at a time."""


def figures_of(
    mixture: MixtureOfExperts, rows: Rows, weight: Tensor | None, num_classes: int, group: Group = ALONE
) -> dict[str, float | int]:
    """The validation figures by name: those of `Evaluation` for classes, of a `TargetTally` for numbers and labels.

    With weights there is `weighted_nll` too.

    Args:
        mixture: the model; run in inference mode, and left in the mode it was in.
        rows: x and y, on the mixture's device.
        weight: of the rows, `[N]`, with mean 1.
        num_classes: C, where y are classes.
        group: the processes that run a part of the rows each.
    """
    if len(rows[0]) < group.size:
        group = ALONE  # each runs them all: none would have something to tell of no rows
    first, count = group.share(len(rows[0]))
    figures: dict[str, float | int] = {}
    if isinstance(mixture.head, Categorical):
        tally = evaluate_batches(mixture, batches(rows, BATCH, group), num_classes)
        tally.reduce(group.sum)
        figures = tally.result().to_dict()
        if weight is None:
            return figures
    elif (target_tally := _tally(mixture)) is not None:
        figures = _cheap_figures(target_tally, batches(rows, TALLIED, group), group)
        if weight is None:
            return figures
    nll = _nll(mixture, batches(rows, BATCH, group))
    weighted = nll if weight is None else weight[first : first + count] * nll
    mean, weighted_mean = (group.sum(torch.stack([nll.sum(), weighted.sum()])) / len(rows[0])).tolist()
    if weight is not None:
        figures["weighted_nll"] = weighted_mean
    return {"nll": mean, **figures}


def _tally(mixture: MixtureOfExperts) -> TargetTally | None:
    """What the figures are made from; None for a head of one's own that has more than a number a row."""
    if isinstance(mixture.head, Bernoulli):
        return LabelTally(mixture, costly=False)
    one = isinstance(mixture.head, DistributionHead) and not mixture.head.event_dims
    return NumberTally(mixture, costly=False) if one else None


def batches(rows: Rows, most: int, group: Group) -> list[Rows]:
    """This process's share of the rows, in parts of at most `most`: as many as the others have, none of them empty."""
    first, count = group.share(len(rows[0]))
    x, y = (column[first : first + count] for column in rows)
    if group.size == 1:
        return list(zip(x.split(most), y.split(most), strict=True))
    parts = -(-len(rows[0]) // (group.size * most))
    return list(zip(x.tensor_split(parts), y.tensor_split(parts), strict=True))


def _cheap_figures(tally: TargetTally, parts: list[Rows], group: Group) -> dict[str, float | int]:
    was_training = tally.mixture.training
    tally.mixture.eval()
    try:
        tally.all_of(parts)
        tally.reduce(group.sum)
        return tally.result()
    finally:
        tally.mixture.train(was_training)


@torch.no_grad()
def _nll(mixture: MixtureOfExperts, parts: list[Rows]) -> Tensor:
    """-log p(y|x) of each row, `[N]`."""
    was_training = mixture.training
    mixture.eval()
    try:
        return torch.cat([-mixture.log_prob(*part) for part in parts])
    finally:
        mixture.train(was_training)
