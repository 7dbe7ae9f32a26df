"""Training that starts from a finished run: its weights, its preprocessing, and experts added or removed."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gatewise.config.run import RunConfig
from gatewise.data import Records, StoredRows
from gatewise.data.streaming.records import some_of
from gatewise.errors import GatewiseError
from gatewise.mixture import MixtureOfExperts, add_expert, remove_expert
from gatewise.models.model import Model
from gatewise.models.spec import ModelSpec
from gatewise.training.collapse.reseeding import NOISE
from gatewise.training.input.datasets import HELD

if TYPE_CHECKING:
    from gatewise.runs.run import Run

SPLIT = (
    *("seed", "test", "test_size", "validation_size", "stream"),
    *("missing", "missing_numbers", "missing_target", "reading", "as_numbers"),
)
"""Keys that decide which rows are for training."""
FORM = ("separator", "header", "decimal")
"""Keys that say how a table is written."""
COLUMNS = ("numeric", "outliers", "keep", "drop", "image_size", "image_mode")
"""Keys that say what becomes of columns and images."""
SHAPE = [name for name in ModelSpec.model_fields if name in RunConfig.model_fields and name != "experts"]


def taken_over(config: RunConfig, run: "Run") -> RunConfig:
    """The configuration with what the run that it starts from decides.

    The model's shape and preprocessing are the run's. So are, where they are not set, the number of experts, the
    target, and on the same data what decides the split.

    Args:
        config: with absolute paths.
        run: the run of its `start_from`.

    Raises:
        GatewiseError: for a key that is set to another shape or preprocessing than the run's.
    """
    update: dict[str, Any] = {}
    for key in [*SHAPE, *COLUMNS]:
        given, there = getattr(config, key), getattr(run.config, key)
        if key in config.model_fields_set and given != there:
            raise GatewiseError(
                f"{key} is {given!r}, but the run to start from ({run.folder}) has {there!r}, and its weights fit no "
                f"other; leave {key} out"
            )
        update[key] = there
    free = ["experts", "target", *((*SPLIT, *FORM) if config.data == run.config.data else ())]
    update |= {key: getattr(run.config, key) for key in free if key not in config.model_fields_set}
    return config.model_copy(update=update)


def started_model(
    config: RunConfig,
    run: "Run",
    whole: Records | StoredRows,
    train: Records | StoredRows,
    device: torch.device,
) -> Model:
    """The run's model, with as many experts as the configuration says.

    Args:
        config: as `taken_over` left it.
        run: the run of its `start_from`.
        whole: all rows of the data.
        train: the training rows.
        device: where the model goes.

    Raises:
        GatewiseError: for rows that do not fit the run's preprocessing or classes, or the run's own data split
            otherwise, so that rows it was trained on would judge it.
    """
    changed = [key for key in SPLIT if getattr(config, key) != getattr(run.config, key)]
    # rows in memory and on disk have hashes of their own, so the same files are known by their path
    same = whole.hash() == run.summary["data"]["hash"] or ("stream" in changed and config.data == run.config.data)
    if changed and same:
        raise GatewiseError(
            f"these are the rows that {run.folder} was trained on, but with another {' and '.join(changed)} they are "
            "split otherwise, and rows for training become rows for the test; leave it as it was in that run"
        )
    x, _ = run.model.rows(some_of(train, HELD))
    generator = torch.Generator().manual_seed(config.seed)
    mixture = with_experts(run.model.mixture.to(device), config.num_experts, x.to(device), generator)
    return Model(mixture, run.model.spec.model_copy(update={"experts": config.num_experts}), run.model.preprocessing)


def with_experts(mixture: MixtureOfExperts, count: int, x: Tensor, generator: torch.Generator) -> MixtureOfExperts:
    """The mixture with `count` experts: the most used is split, or the least used removed, one after the other.

    Use is the gate's argmax on the rows x; a split halves it for donor and newcomer.
    """
    load = argmax_counts(mixture, x)
    while mixture.num_experts < count:
        donor = max(range(len(load)), key=load.__getitem__)
        mixture = add_expert(mixture, donor, noise=NOISE, generator=generator)
        load[donor] /= 2
        load.append(load[donor])
    while mixture.num_experts > count:
        load = argmax_counts(mixture, x)
        mixture = remove_expert(mixture, min(range(len(load)), key=load.__getitem__))
    return mixture


@torch.no_grad()
def argmax_counts(mixture: MixtureOfExperts, x: Tensor, batch_size: int = 4096) -> list[float]:
    """On how many rows each expert is the gate's argmax, K numbers."""
    chosen = torch.cat([mixture.read(rows)[1].argmax(-1) for rows in x.split(batch_size)])
    return torch.bincount(chosen, minlength=mixture.num_experts).tolist()
