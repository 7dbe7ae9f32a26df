"""A run before its first step: the model, its objective, and the rows as they see them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gatewise.config.objective import build_objective
from gatewise.config.run import RunConfig
from gatewise.data import Preprocessing, Records, StoredRows, fit_preprocessing
from gatewise.data.streaming.records import some_of
from gatewise.errors import GatewiseError
from gatewise.models.model import Model
from gatewise.models.numeric_embedding import quantile_bins
from gatewise.models.spec import ModelSpec
from gatewise.models.task import KINDS
from gatewise.objectives import Objective
from gatewise.runs.data import Parts, with_absolute_paths
from gatewise.runs.run import Run
from gatewise.runs.start_from import started_model, taken_over
from gatewise.runs.stored import classes_of, targets_of
from gatewise.training.epoch import Rows
from gatewise.training.row_stream import HELD, RowStream, default_buffer


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


def assemble(
    config: RunConfig,
    train: Records | StoredRows,
    classes: Sequence[str],
    device: torch.device,
    head: str = "categorical",
    target: Mapping[str, Any] | None = None,
) -> tuple[Model, Objective]:
    """A model for the rows to train on, as it is before training, and its objective.

    For a `head` of `gatewise.models.spec.HEADS` that is not categorical there are no classes; `target` then has the
    keys of `ModelSpec` that describe the targets.

    Raises:
        GatewiseError: for rows or a configuration that no model can be built for.
    """
    columns = {key: getattr(config, key) for key in ("keep", "drop", "outliers")}
    preprocessing = fit_preprocessing(train, config.numeric, **columns)
    spec = ModelSpec.from_config(config, preprocessing.input_shape, tuple(classes), head, target)
    spec, bins = with_embedding(spec, config, preprocessing, train)
    model = Model(spec.build(bins).to(device), spec, preprocessing)
    return model, build_objective(config, spec.features, len(classes))


def with_embedding(
    spec: ModelSpec, config: RunConfig, preprocessing: Preprocessing, train: Records | StoredRows
) -> tuple[ModelSpec, list[torch.Tensor] | None]:
    """The spec with the numbers that are embedded and their bins, and the bins' edges from the rows to train on.

    Raises:
        GatewiseError: for images, convolutions, or rows without a number.
    """
    if config.numeric_embedding == "none":
        return spec, None
    if len(preprocessing.input_shape) != 1 or "conv" in (config.expert, config.gate):
        raise GatewiseError("numeric_embedding is for numbers in columns, not for images; leave it out")
    if not (numbers := preprocessing.numbers):
        raise GatewiseError(f"{train.name}: no column of numbers to embed; leave numeric_embedding out")
    bins = None
    if config.numeric_embedding == "piecewise-linear":
        rows = torch.from_numpy(preprocessing.transform(some_of(train, HELD))[:, :numbers])
        bins = quantile_bins(rows, config.numeric_bins)
    counts = [len(edges) - 1 for edges in bins or []]
    return spec.model_copy(update={"numbers": numbers, "bin_counts": counts}), bins


def continued(config: RunConfig) -> RunConfig:
    """The configuration with what the run that it starts from decides; as it is where it starts from none.

    Raises:
        GatewiseError: if there is no such run, or it does not fit the configuration.
    """
    if config.start_from is None:
        return config
    config = with_absolute_paths(config)
    return taken_over(config, Run.load(config.start_from or ""))
