"""The key `class_weight` of a run: weights of classes, and with them its rows, wherever they are."""

from dataclasses import replace

import torch
from torch import Tensor

from gatewise.config.run import RunConfig
from gatewise.data import Classes
from gatewise.training.epoch import Rows
from gatewise.training.row_stream import RowStream
from gatewise.training.weights import balanced, class_weights, of_rows


def weights_of_classes(config: RunConfig, classes: Classes, train: Rows | RowStream) -> Tensor | None:
    """The weights `[C]` that the configuration asks for; None where it asks for none.

    Raises:
        GatewiseError: as `gatewise.training.weights.class_weights` does.
    """
    if isinstance(train, RowStream) and config.class_weight == "balanced":
        return balanced(counts_of(train, classes).float())
    y = torch.zeros(0, dtype=torch.int64) if isinstance(train, RowStream) else train[1]
    return class_weights(config.class_weight, classes.names, y)


def weighted(
    rows: Rows | RowStream, weights: Tensor | None, classes: Classes
) -> tuple[Rows | RowStream, Tensor | None]:
    """Rows and the weight of each, `[N]`, where classes have weights `[C]`; streamed rows bring theirs along."""
    if not isinstance(rows, RowStream):
        return rows, of_rows(weights, rows[1])
    if weights is None:
        return rows, None
    counts = counts_of(rows, classes)
    # relative to the mean over the rows, as `fit` makes them
    mean = (weights.double() * counts).sum() / counts.sum()
    return replace(rows, class_weight=(weights.double() / mean).float()), None


def counts_of(rows: RowStream, classes: Classes) -> Tensor:
    """How many rows each class has, float64 `[C]`."""
    counts, _ = rows.rows.label_counts
    return torch.tensor([counts.get(name, 0) for name in classes.names], dtype=torch.float64)
