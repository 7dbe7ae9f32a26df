"""A run before its first step: the model, its objective, and the rows as they see them."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gatewise.config.objective import build_objective
from gatewise.config.run import RunConfig
from gatewise.data import Classes, Records, StoredRows
from gatewise.models.model import Model, assemble
from gatewise.models.task import KINDS
from gatewise.objectives import Objective
from gatewise.runs.data import Parts, classes_of, targets_of, with_absolute_paths
from gatewise.runs.run import Run
from gatewise.runs.start_from import started_model, taken_over
from gatewise.training.input.batching import Rows
from gatewise.training.input.datasets import RowStream, default_buffer
from gatewise.training.input.sample_weights import balanced, class_weights, of_rows


@dataclass(frozen=True)
class Prepared:
    """A model and its objective before training, and the rows as they see them."""

    model: Model
    objective: Objective
    rows: dict[str, Rows | RowStream]


def prepare(config: RunConfig, parts: Parts, device: torch.device) -> Prepared:
    """The model as it is before training, drawn from torch's global random state, and the rows as it sees them.

    Raises:
        GatewiseError: for rows or a configuration that no model can be built for.
    """
    if config.start_from is not None:
        model = started_model(config, Run.load(config.start_from), parts.whole, parts.train, device)
        objective = build_objective(config, model.spec.features, len(model.spec.classes))
    else:
        model, objective = _fresh(config, parts, device)
    named = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    rows = {name: as_seen(model, records, config) for name, records in named.items() if records is not None}
    return Prepared(model, objective, rows)


def as_seen(model: Model, records: Records | StoredRows, config: RunConfig) -> Rows | RowStream:
    """Rows as a model takes them, at once or as they are needed."""
    if isinstance(records, Records):
        return model.rows(records)
    columns = model.preprocessing.column_names or []
    return RowStream(records, columns, model.rows, config.stream_rows or default_buffer(len(columns)))


def _fresh(config: RunConfig, parts: Parts, device: torch.device) -> tuple[Model, Objective]:
    if parts.head in KINDS:
        target = KINDS[parts.head].described(parts.head, targets_of(parts.whole), targets_of(parts.train))
        return assemble(config, parts.train, (), device, parts.head, target)
    return assemble(config, parts.train, classes_of(parts.whole).names, device)


def continued(config: RunConfig) -> RunConfig:
    """The configuration with what the run that it starts from decides; as it is where it starts from none.

    Raises:
        GatewiseError: if there is no such run, or it does not fit the configuration.
    """
    if config.start_from is None:
        return config
    config = with_absolute_paths(config)
    return taken_over(config, Run.load(config.start_from or ""))


def weights_of_classes(config: RunConfig, classes: Classes, train: Rows | RowStream) -> Tensor | None:
    """The weights `[C]` that the configuration asks for; None where it asks for none.

    Raises:
        GatewiseError: as `gatewise.training.input.sample_weights.class_weights` does.
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
