"""Training that goes on from call to call, for `partial_fit`."""

from typing import Any

import torch
from torch import Tensor

from gatewise.config import LoopConfig, RunConfig
from gatewise.errors import GatewiseError
from gatewise.mixture import MixtureOfExperts
from gatewise.models.model import Model
from gatewise.objectives import Objective, regularisers
from gatewise.training.input.batching import Rows, default_batch_size
from gatewise.training.nonfinite import advice, trace
from gatewise.training.step import NonFiniteBatch, TrainStep

NO_END = 2**60
"""Steps of a training whose end nobody knows: schedules stay where they begin."""


def device_of(mixture: MixtureOfExperts) -> torch.device:
    """Where a mixture is."""
    return next(mixture.parameters()).device


def loop_config(config: RunConfig) -> LoopConfig:
    """The part of a configuration that the loop needs."""
    return LoopConfig(**{name: getattr(config, name) for name in LoopConfig.model_fields})


def new_train_step(config: RunConfig, model: Model, objective: Objective) -> TrainStep:
    """A training step at the beginning, with constant learning rates: the gate's from the start, where one was given.

    Raises:
        GatewiseError: for what needs all rows, or epochs, at once.
    """
    for key, off in (("warm_start", "none"), ("reseed_after", 0)):
        if getattr(config, key) != off:
            raise GatewiseError(f"partial_fit knows neither all rows nor the last epoch, so it takes no {key}; use fit")
    constant = loop_config(config).model_copy(
        update={"lr_schedule": "constant", "gate_warmup": config.gate_warmup if config.gate_lr is None else 0.0}
    )
    objective = objective.to(device_of(model.mixture))
    return TrainStep(
        model.mixture, objective, regularisers(config.regulariser, expert_prior=config.expert_prior), constant, NO_END
    )


def one_epoch(train_step: TrainStep, rows: Rows, weight: Tensor | None, batch_size: int | None) -> None:
    """Take the steps of one pass over rows, with their weights; dropout draws from torch's global random state.

    Raises:
        GatewiseError: if a loss or gradient is not finite, and `skip_nonfinite` batches were passed over already.
    """
    torch.manual_seed((train_step.dropout_seed + train_step.step) % 2**63)
    mixture, count = train_step.mixture, len(rows[0])
    x, y = (each.to(train_step.device) for each in rows)
    besides = {} if weight is None else {"weight": weight.float().to(train_step.device)}
    size = min(batch_size or default_batch_size(count), count)
    statistics = train_step.new_statistics()
    mixture.train()
    train_step.objective.train()
    try:
        for x_part, y_part, *rest in train_step.batches(x, y, *besides.values(), batch_size=size):
            given: dict[str, Any] = dict(zip(besides, rest, strict=True))
            try:
                train_step.take_step(x_part, y_part, statistics, **given)
            except NonFiniteBatch as batch:
                if train_step.passed_over >= train_step.config.skip_nonfinite:
                    said = advice(trace(train_step, batch.pieces), train_step.config)
                    raise GatewiseError(f"training diverged after step {train_step.step}: {said}") from None
                train_step.passed_over += 1
    finally:
        mixture.eval()
