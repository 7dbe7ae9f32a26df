"""Validation: the figures that an epoch is judged by."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from gatewise.distributed import ALONE, Group
from gatewise.metrics.base import TargetTally
from gatewise.metrics.classification import evaluate_batches
from gatewise.metrics.multilabel import LabelTally
from gatewise.metrics.regression import NumberTally
from gatewise.mixture import Bernoulli, Categorical, DistributionHead, MixtureOfExperts
from gatewise.training.input.batching import Rows
from gatewise.training.input.datasets import BATCH, RowStream, count_of


def figures_of(
    mixture: MixtureOfExperts,
    rows: Rows | RowStream,
    weight: Tensor | None,
    num_classes: int,
    group: Group = ALONE,
) -> dict[str, float | int]:
    """The validation figures by name: those of `Evaluation` for classes, of a `TargetTally` for numbers and labels.

    With weights there is `weighted_nll` too.

    Args:
        mixture: the model; run in inference mode, and left in the mode it was in.
        rows: x and y, on the mixture's device, or read as they are needed.
        weight: of the rows, `[N]`, with mean 1; streamed rows bring their own.
        num_classes: C, where y are classes.
        group: the processes that run a part of the rows each.
    """
    group, batches = _of_process(rows, weight, group)
    weighted = weight is not None or (isinstance(rows, RowStream) and rows.class_weight is not None)
    figures: dict[str, float | int] = {}
    if isinstance(mixture.head, Categorical):
        tally = evaluate_batches(mixture, ((x, y) for x, y, *_ in batches()), num_classes, costly=False)
        tally.reduce(group.sum)
        figures = tally.result().to_dict()
        if not weighted:
            return figures
    elif (target_tally := _tally(mixture)) is not None:
        figures = _cheap_figures(target_tally, batches(), group)
        if not weighted:
            return figures
    mean, weighted_mean = (group.sum(_nll(mixture, batches())) / count_of(rows)).tolist()
    if weighted:
        figures["weighted_nll"] = weighted_mean
    return {"nll": mean, **figures}


def _of_process(
    rows: Rows | RowStream, weight: Tensor | None, group: Group
) -> tuple[Group, Callable[[], Iterable[tuple[Tensor, ...]]]]:
    """What gives this process's batches of the rows; each has them all where one would have nothing to tell of.

    Of rows in memory every process has as many batches as the others, none of them empty, as experts that are spread
    over processes are run together.
    """
    if isinstance(rows, RowStream):
        group = group if rows.shares(group.size) else ALONE
        return group, lambda: rows.batches((group.rank, group.size))
    if len(rows[0]) < group.size:
        group = ALONE
    first, count = group.share(len(rows[0]))
    columns = [column[first : first + count] for column in (*rows, *([] if weight is None else [weight]))]
    parts = -(-len(rows[0]) // (group.size * BATCH))
    # of one process as always: its figures depend on where the rows are cut, in their last bits
    cut = [c.split(BATCH) if group.size == 1 else c.tensor_split(parts) for c in columns]
    return group, lambda: zip(*cut, strict=True)


def _tally(mixture: MixtureOfExperts) -> TargetTally | None:
    """What the figures are made from; None for a head of one's own that has more than a number a row."""
    if isinstance(mixture.head, Bernoulli):
        return LabelTally(mixture, costly=False)
    one = isinstance(mixture.head, DistributionHead) and not mixture.head.event_dims
    return NumberTally(mixture, costly=False) if one else None


def _cheap_figures(tally: TargetTally, batches: Iterable[tuple[Tensor, ...]], group: Group) -> dict[str, float | int]:
    was_training = tally.mixture.training
    tally.mixture.eval()
    try:
        tally.all_of((x, y) for x, y, *_ in batches)
        tally.reduce(group.sum)
        return tally.result()
    finally:
        tally.mixture.train(was_training)


@torch.no_grad()
def _nll(mixture: MixtureOfExperts, batches: Iterable[tuple[Tensor, ...]]) -> Tensor:
    """The sum of -log p(y|x) over the rows, and that of its product with their weights, `[2]`."""
    device, was_training = next(mixture.parameters()).device, mixture.training
    total = torch.zeros(2, device=device)
    mixture.eval()
    try:
        for x, y, *weight in batches:
            nll = -mixture.log_prob(x.to(device), y.to(device))
            total += torch.stack([nll.sum(), (nll * weight[0].to(device) if weight else nll).sum()])
        return total
    finally:
        mixture.train(was_training)
