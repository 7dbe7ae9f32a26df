"""The base of the estimators: rows and weights in, one training, and what the mixture says of rows."""

import contextlib
import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import (
    _check_sample_weight,  # pyrefly: ignore[missing-module-attribute]
    check_consistent_length,
    check_is_fitted,
)
from torch import Tensor, nn

from gatewise.config import RunConfig
from gatewise.config.checks import check_gate
from gatewise.config.objective import build_objective
from gatewise.config.run import choose_device
from gatewise.data import Records
from gatewise.data.preprocessing.table import TablePreprocessing
from gatewise.errors import GatewiseError
from gatewise.files import as_path
from gatewise.mixture import MixtureOfExperts, MLPBank
from gatewise.mixture.experts import ExpertList
from gatewise.models.model import Model, assemble
from gatewise.objectives import regularisers
from gatewise.sklearn import persistence
from gatewise.sklearn.frames import fitting_records, further_records
from gatewise.sklearn.parameters import Parameters, for_python, to_config
from gatewise.sklearn.partial_fit import device_of, loop_config, new_train_step, one_epoch
from gatewise.training import Callback, fit
from gatewise.training.step import TrainStep

if TYPE_CHECKING:
    from gatewise.models.export import Export

ENOUGH = 200
"""Rows from which `early_stopping="auto"` holds some of them out."""
BATCH = 4096
"""Rows that are predicted at a time."""


class MixtureEstimator(Parameters, ABC):
    """Base of the estimators; a subclass says what targets are: how they are checked, encoded and held out."""

    model_: Model
    n_iter_: int
    _train_step: TrainStep | None

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on rows X and targets y `[N]`.

        Args:
            X: rows, see the class.
            y: labels of any kind that scikit-learn takes for classes, or numbers to predict.
            sample_weight: how much each row counts in the objective, `[N]`; a row of weight 0 is left out altogether.

        Raises:
            ValueError: for a parameter or rows that cannot be used.
        """
        config = self._config()
        records, y, weights = self._rows(X, y, sample_weight, config, fresh=True)
        parts = self._hold_out(y, config.seed)
        self._train(config, records, self._encode(y), self._weigh(y, weights), parts)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One more epoch on further rows, at a constant learning rate, without rows held out.

        The first call (unless `fit` came before) settles the preprocessing, from its rows. Later calls go on with the
        optimiser's state; schedules stay where they begin.

        Args:
            X: rows.
            y: targets.
            sample_weight: weights `[N]`, here not relative to their mean, as no call knows the rows of the others.

        Raises:
            ValueError: for a parameter or rows that cannot be used.
        """
        config, fresh = self._config(), not hasattr(self, "model_")
        records, y, weights = self._rows(X, y, sample_weight, config, fresh)
        if fresh:
            self._fit_scale(y)
        self._train_one_epoch(config, records, self._encode(y), self._weigh(y, weights))
        return self

    def __getstate__(self) -> dict[str, Any]:
        """For a pickle: the weights on the CPU, whatever device they are on."""
        state = dict(super().__getstate__())
        model = state.get("model_")
        if model is not None and device_of(model.mixture).type != "cpu":
            mixture = copy.deepcopy(model.mixture).cpu()
            state |= {"model_": Model(mixture, model.spec, model.preprocessing), "_train_step": None}
        return state

    @property
    def mixture_(self) -> MixtureOfExperts:
        """The trained mixture: a torch module in inference mode, on rows as the preprocessing gives them."""
        check_is_fitted(self)
        return self.model_.mixture

    @property
    def experts_(self) -> list[nn.Module]:
        """The experts as K plain modules; they see what the trunk puts out, where there is one."""
        experts = self.mixture_.experts
        if isinstance(experts, MLPBank):
            return [experts.expert(k).eval() for k in range(experts.num_experts)]
        assert isinstance(experts, ExpertList)
        return list(experts.members)

    def gate_proba(self, X: Any) -> np.ndarray:
        """p(z|x): how probable the gate holds each expert, `[N, K]`."""
        return self._answers(X, lambda mixture, x: mixture.gate_proba(x))

    def save(self, folder: str | Path) -> None:
        """Write the fitted estimator into a new folder, without pickle; `load` reads it.

        `folder/model` is what a run folder has under that name: weights in safetensors, the preprocessing, and the
        shape of the model. What `partial_fit` would go on from is not kept, nor is a `RandomState`.

        Raises:
            ValueError: if it is not fitted, or something is there already.
        """
        check_is_fitted(self)
        persistence.save(self, as_path(folder, "folder"))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The estimator that `save` wrote into `folder`, on the CPU.

        Raises:
            ValueError: for a folder that holds none of this kind, or is damaged.
        """
        return persistence.load(cls, as_path(folder, "folder"))

    def export(self, path: str | Path, route: str = "mixture") -> "Export":
        """Write one file that runs without gatewise, as `gatewise export` does: prepared rows in, probabilities out.

        Args:
            path: it ends in .pt2 (`torch.export`) or .onnx.
            route: "mixture", or "top1".

        Raises:
            ValueError: if it is not fitted, or as `gatewise.models.export.export`.
        """
        from gatewise.models.export import export  # what exports takes a while to import

        check_is_fitted(self)
        path = as_path(path, "path")
        model = Model(copy.deepcopy(self.mixture_).cpu().eval(), self.model_.spec, self.model_.preprocessing)
        return export(model, path, path.suffix.removeprefix(".") or "pt2", route)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # pyrefly: ignore[missing-attribute]
        tags.input_tags.sparse = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def _records(self, X: Any) -> Records:
        """Further rows, in the form of those fitted."""
        preprocessing = self.model_.preprocessing
        as_table = isinstance(preprocessing, TablePreprocessing)
        marks = {"missing": preprocessing.missing, "missing_numbers": preprocessing.missing_numbers}
        return further_records(self, X, as_table=as_table, **marks)

    def _answers(self, X: Any, function: Callable[..., Tensor], *targets: Tensor) -> np.ndarray:
        """What a function of the mixture, rows and their targets says, in batches, as NumPy.

        It is computed in float64, where the device has it: in float32 the last digits of a row's answer depend on the
        rows that it is asked with.
        """
        check_is_fitted(self)
        x = self.model_.inputs(self._records(X))
        device = device_of(self.mixture_)
        wide = self.mixture_ if device.type == "mps" else copy.deepcopy(self.mixture_).double()
        dtype = next(wide.parameters()).dtype
        given = [x.to(dtype), *(y.to(dtype) if y.is_floating_point() else y for y in targets)]
        with torch.inference_mode():
            parts = [
                function(wide, *(each[start : start + BATCH].to(device) for each in given))
                for start in range(0, len(x), BATCH)
            ]
        return torch.cat(parts).double().cpu().numpy()

    def _config(self) -> RunConfig:
        return to_config(self)

    @abstractmethod
    def _checked(self, y: Any) -> np.ndarray:
        """Targets `[N]`; raises ValueError for what cannot be one."""

    @abstractmethod
    def _hold_out(self, y: np.ndarray, seed: int) -> list[np.ndarray]:
        """The rows to train on and those to stop by, or all rows alone; settles what targets there are."""

    @abstractmethod
    def _encode(self, y: np.ndarray) -> Tensor:
        """Targets `[N]` as the mixture is trained on them."""

    @abstractmethod
    def _target_spec(self) -> dict[str, Any]:
        """What `assemble` is told of the targets."""

    def _fit_scale(self, y: np.ndarray) -> None:
        """Settle the scale of targets that have one."""

    def _weigh(self, y: np.ndarray, weights: np.ndarray | None) -> Tensor | None:
        """The weights `[N]` of rows in the objective, if any."""
        return None if weights is None else torch.from_numpy(weights)

    def _targets_of(self, X: Any, y: Any) -> np.ndarray:
        """Targets of rows that a fitted mixture is asked about."""
        check_is_fitted(self)
        y = self._checked(y)
        check_consistent_length(X, y)
        return y

    def _rows(
        self, X: Any, y: Any, sample_weight: Any, config: RunConfig, fresh: bool
    ) -> tuple[Records, np.ndarray, np.ndarray | None]:
        """Rows, targets and weights, without the rows of weight 0."""
        if y is None:
            raise ValueError(f"This {type(self).__name__} requires y to be passed, but the target y is None.")
        records = fitting_records(self, X, config) if fresh else self._records(X)
        y = self._checked(y)
        check_consistent_length(records, y)
        weights = checked_weights(sample_weight, X)
        if weights is None or weights.all():
            return records, y, weights
        rows = weights.nonzero()[0]
        return records.take(rows), y[rows], weights[rows]

    def _train(
        self, config: RunConfig, records: Records, targets: Tensor, weight: Tensor | None, parts: list[np.ndarray]
    ) -> None:
        """Train a new model on the first part of the rows, stopped by the second where there is one."""
        check_gate(config)
        device = choose_device(config.device)
        with seeded(config.seed, device):
            model, objective = assemble(config, records.take(parts[0]), device=device, **self._target_spec())
            rows = [(model.inputs(records.take(part)), targets[part]) for part in parts]
            weights = [None if weight is None else weight[part] for part in parts]
            held_out = len(parts) > 1
            result = fit(
                model.mixture,
                objective,
                rows[0],
                rows[1] if held_out else None,
                loop_config(config),
                weight=weights[0],
                validation_weight=weights[1] if held_out else None,
                regularisers=regularisers(config.regulariser, expert_prior=config.expert_prior),
                num_classes=len(model.spec.classes),
                callbacks=[PrintProgress(type(self).__name__)] if self.verbose else [],
                model_factory=model.spec.build,
            )
        self.model_, self._train_step = model, None
        self.history_ = result.history
        self.n_iter_, self.best_iter_ = len(result.history), result.best_epoch
        if result.warnings:
            warnings.warn(for_python(" ".join(result.warnings)), ConvergenceWarning, stacklevel=3)

    def _train_one_epoch(self, config: RunConfig, records: Records, targets: Tensor, weight: Tensor | None) -> None:
        """One epoch more on these rows, of a new model where there is none."""
        check_gate(config)
        device = choose_device(config.device)
        with seeded(config.seed, device):
            if not hasattr(self, "model_"):
                self.model_, objective = assemble(config, records, device=device, **self._target_spec())
                self._train_step, self.n_iter_ = new_train_step(config, self.model_, objective), 0
            elif self._train_step is None:
                objective = build_objective(config, self.model_.spec.features, len(self.model_.spec.classes))
                self._train_step = new_train_step(config, self.model_, objective)
            one_epoch(self._train_step, (self.model_.inputs(records), targets), weight, config.batch_size)
        self.n_iter_ += 1


class PrintProgress(Callback):
    """One line an epoch, for `verbose=1`.

    Args:
        name: of the estimator.
    """

    def __init__(self, name: str):
        self.name = name

    def on_start(self, epochs: int, steps_per_epoch: int) -> None:
        """Remember how many epochs there may be."""
        self.epochs = epochs

    def on_epoch(self, metrics: dict[str, Any]) -> None:
        """Print the epoch's line."""
        line = f"[{self.name}] epoch {metrics['epoch']}/{self.epochs}: loss {metrics['train_loss']:.4f}"
        if "validation_nll" in metrics:
            line += f", validation NLL {metrics['validation_nll']:.4f}"
        print(f"{line}, {metrics['seconds']:.1f} s")


def checked_weights(sample_weight: Any, X: Any) -> np.ndarray | None:
    """Weights of rows as float64 `[N]`, or None.

    Raises:
        ValueError: as scikit-learn, and for weights that are negative or all 0.
    """
    if sample_weight is None:
        return None
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not weights.any():
        raise GatewiseError("Sample weights must contain at least one non-zero number; all of sample_weight are 0")
    return weights


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's global random state begins at the seed, and is as it was afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
