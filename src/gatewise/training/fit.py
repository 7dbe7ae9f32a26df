"""Training a mixture from Python: `fit`."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from gatewise.config.run import LoopConfig
from gatewise.distributed import ALONE, Group
from gatewise.errors import GatewiseError, check_callable, check_kind, check_kinds
from gatewise.mixture import MixtureOfExperts
from gatewise.objectives import Objective, Regulariser
from gatewise.training.callbacks import Callback, check_callbacks, check_should_stop
from gatewise.training.checkpoints.folder import Checkpoints
from gatewise.training.input.batching import Rows
from gatewise.training.input.datasets import RowStream, count_of
from gatewise.training.input.sample_weights import check_weight
from gatewise.training.loop import Fit, Trainer
from gatewise.training.restarts import Restarts
from gatewise.training.resume import resume


def fit(
    mixture: MixtureOfExperts,
    objective: Objective,
    train: Rows | RowStream,
    validation: Rows | RowStream | None,
    config: LoopConfig | None = None,
    *,
    weight: Tensor | None = None,
    validation_weight: Tensor | None = None,
    regularisers: Sequence[Regulariser] = (),
    num_classes: int | None = None,
    callbacks: Iterable[Callback] = (),
    should_stop: Callable[[], bool] = lambda: False,
    assignment: Tensor | None = None,
    checkpoints: Checkpoints | None = None,
    group: Group = ALONE,
    model_factory: Callable[[], MixtureOfExperts] | None = None,
) -> Fit:
    """Train a mixture, and leave it with the weights of the lowest validation NLL.

    `config.seed` fixes the order of rows, the estimator's noise and dropout; torch's global random state is left as
    it was (on the CPU and CUDA).

    Args:
        mixture: the model; trained in place on the device it is on.
        objective: what is maximised, from `gatewise.objectives`.
        train: x `[N, ...]` and classes y int64 `[N]`; of a Dataset, `gatewise.training.rows_of(dataset)`. Or a
            `gatewise.training.input.datasets.RowStream`, with `num_classes` where they have classes.
        validation: the same, for early stopping; None: all epochs are trained, and the last weights are kept.
        config: see `LoopConfig`.
        weight: of the training rows, `[N]`, >= 0: how much each counts in the objective, relative to their mean.
        validation_weight: of the validation rows; the weighted NLL is then what decides when to stop.
        regularisers: of the gate.
        num_classes: C; None takes the largest class in the rows, plus one.
        callbacks: see `Callback`.
        should_stop: asked after every step; true ends training with what there is.
        assignment: for a warm start of one's own: the expert of each training row, int64 `[N]`, held fixed for the
            first `config.warm_start_epochs` (see `gatewise.training.collapse.warm_start`).
        checkpoints: where the state is kept every `config.checkpoint_seconds` and when training is interrupted;
            training goes on from the last one in there, with the same arguments, as if it had not been interrupted.
        group: the processes that train together: all call this with the same arguments but the callbacks, and end with
            the same weights. The first one writes the checkpoints. See docs/scaling.md.
        model_factory: makes the same mixture with weights drawn from torch's global random state, for `config.starts`;
            None: training has one start, from the weights as they are.

    Raises:
        GatewiseError: if there are no rows, nothing to train, weights that are none, targets that the head does not
            take, the loss is not finite, or a step has fewer rows than there are processes.
    """
    config = config or LoopConfig()
    check_kind(
        mixture, MixtureOfExperts, "mixture", "make one of a gate and experts, gw.MixtureOfExperts(gate, experts)"
    )
    if not isinstance(objective, Objective):
        raise GatewiseError(f"objective must be made by gw.objectives.get(…), got {objective!r}")
    if not isinstance(config, LoopConfig):
        raise GatewiseError(f"config must be a LoopConfig, such as LoopConfig(epochs=20), got {config!r}")
    check_rows(train, "train")
    if validation is not None:
        check_rows(validation, "validation")
    regularisers = check_kinds(regularisers, Regulariser, "regularisers", "such as [gw.objectives.Load(0.1)]")
    callbacks = check_callbacks(callbacks)
    check_should_stop(should_stop)
    if model_factory is not None:
        check_callable(model_factory, "model_factory", "one that makes the same mixture with other weights")
    if not count_of(train) or (validation is not None and not count_of(validation)):
        raise GatewiseError("training needs at least one training row and one validation row")
    if isinstance(train, RowStream) and (weight is not None or num_classes is None):
        raise GatewiseError("streamed rows bring their own weights and do not tell num_classes; give that, no weight")
    weights = (
        check_weight(weight, count_of(train), "weight"),
        None if validation is None else check_weight(validation_weight, count_of(validation), "validation_weight"),
    )
    rows = (train, validation, weights)
    for part in (train, validation):
        if not isinstance(part, RowStream | None):
            check_targets(mixture, part[1])
    trainer = Trainer(mixture, objective, rows, config, regularisers, num_classes, callbacks, should_stop, group)
    trainer.prepare_experts(assignment)
    restarts = Restarts(trainer, config.starts, model_factory)
    device = trainer.train_step.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(trainer.train_step.dropout_seed)
        if checkpoints is not None:
            resume(trainer, restarts, checkpoints)
        with trainer.session():
            restarts.run()
            trainer.train_until(trainer.epochs)
            trainer.conclude()
    trainer.result.restarts = restarts.scores
    return trainer.result


def check_rows(rows: Rows | RowStream, name: str) -> None:
    """Raises GatewiseError for what is neither x and y as tensors nor a stream."""
    if isinstance(rows, RowStream):
        return
    if not isinstance(rows, tuple | list) or len(rows) != 2 or not all(isinstance(part, Tensor) for part in rows):
        raise GatewiseError(
            f"{name} must be (x, y), two tensors, got {type(rows).__name__}; make them with torch.as_tensor, or of a "
            "Dataset with gw.training.rows_of"
        )


def check_targets(mixture: MixtureOfExperts, y: Tensor) -> None:
    """Have the head look at all targets once, wherever they are: in training it looks at what is on the CPU alone.

    Raises:
        GatewiseError: for targets that it gives no probability.
    """
    if (check := getattr(mixture.head, "check", None)) is not None:
        check(y.cpu())
