"""The base of the estimators: rows and weights in, one training, and what the mixture says of rows."""

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import (
    _check_sample_weight,  # pyrefly: ignore[missing-module-attribute]
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
from gatewise.mixture import MixtureOfExperts, MLPBank
from gatewise.mixture.experts import ExpertList
from gatewise.models.model import Model, assemble
from gatewise.objectives import regularisers
from gatewise.sklearn import persistence
from gatewise.sklearn.frames import further_records
from gatewise.sklearn.partial_fit import device_of, loop_config, new_train_step, one_epoch
from gatewise.sklearn.watching import PrintProgress, for_python
from gatewise.training import fit
from gatewise.training.step import TrainStep

if TYPE_CHECKING:
    from gatewise.models.export import Export

ENOUGH = 200
"""Rows from which `early_stopping="auto"` holds some of them out."""
BATCH = 4096
"""Rows that are predicted at a time."""


class MixtureEstimator(BaseEstimator):
    """Base of the estimators; the parameters are those of the subclass's constructor."""

    model_: Model
    n_iter_: int
    _train_step: TrainStep | None

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
        persistence.save(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The estimator that `save` wrote into `folder`, on the CPU.

        Raises:
            ValueError: for a folder that holds none of this kind, or is damaged.
        """
        return persistence.load(cls, Path(folder))

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
        model = Model(copy.deepcopy(self.mixture_).cpu().eval(), self.model_.spec, self.model_.preprocessing)
        return export(model, Path(path), Path(path).suffix.removeprefix(".") or "pt2", route)

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

    def _learn(
        self,
        config: RunConfig,
        records: Records,
        parts: Sequence[np.ndarray],
        targets: Tensor,
        weight: Tensor | None,
        classes: Sequence[str] = (),
        head: str = "categorical",
        target: Mapping[str, Any] | None = None,
    ) -> None:
        """Train a new model on the first part of the rows, stopped by the second where there is one."""
        check_gate(config)
        device = choose_device(config.device)
        with seeded(config.seed, device):
            model, objective = assemble(config, records.take(parts[0]), classes, device, head, target)
            rows = [(model.inputs(records.take(part)), targets[part]) for part in parts]
            weights = [None if weight is None else weight[part] for part in parts]
            held = len(parts) > 1
            result = fit(
                model.mixture,
                objective,
                rows[0],
                rows[1] if held else None,
                loop_config(config),
                weight=weights[0],
                validation_weight=weights[1] if held else None,
                regularisers=regularisers(config.regulariser, expert_prior=config.expert_prior),
                num_classes=len(classes),
                callbacks=[PrintProgress(type(self).__name__)] if self.get_params(deep=False)["verbose"] else [],
                model_factory=model.spec.build,
            )
        self.model_, self._train_step = model, None
        self.history_ = result.history
        self.n_iter_, self.best_iter_ = len(result.history), result.best_epoch
        if result.warnings:
            warnings.warn(for_python(" ".join(result.warnings)), ConvergenceWarning, stacklevel=3)

    def _go_on(
        self,
        config: RunConfig,
        records: Records,
        targets: Tensor,
        weight: Tensor | None,
        classes: Sequence[str] = (),
        head: str = "categorical",
        target: Mapping[str, Any] | None = None,
    ) -> None:
        """One epoch more on these rows, of a new model where there is none."""
        check_gate(config)
        device = choose_device(config.device)
        with seeded(config.seed, device):
            if not hasattr(self, "model_"):
                self.model_, objective = assemble(config, records, classes, device, head, target)
                self._train_step, self.n_iter_ = new_train_step(config, self.model_, objective), 0
            elif self._train_step is None:
                objective = build_objective(config, self.model_.spec.features, len(self.model_.spec.classes))
                self._train_step = new_train_step(config, self.model_, objective)
            one_epoch(self._train_step, (self.model_.inputs(records), targets), weight, config.batch_size)
        self.n_iter_ += 1


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


def kept(weights: np.ndarray | None, records: Records, y: np.ndarray) -> tuple[Records, np.ndarray, np.ndarray | None]:
    """Rows, targets and weights without the rows of weight 0."""
    if weights is None or weights.all():
        return records, y, weights
    rows = weights.nonzero()[0]
    return records.take(rows), y[rows], weights[rows]


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's global random state begins at the seed, and is as it was afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
