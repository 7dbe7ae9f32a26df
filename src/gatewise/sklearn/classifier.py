"""The classifier."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,  # pyrefly: ignore[missing-module-attribute]
    check_classification_targets,
)
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d
from torch import Tensor

from gatewise.config import RunConfig
from gatewise.data import MISSING, Records, split
from gatewise.errors import GatewiseError
from gatewise.sklearn.base import ENOUGH, MixtureEstimator, checked_weights, kept
from gatewise.sklearn.frames import check_labels, fitting_records
from gatewise.sklearn.parameters import to_config
from gatewise.training.input.sample_weights import class_weights, of_rows
from gatewise.wording import shown


class MixtureOfExpertsClassifier(ClassifierMixin, MixtureEstimator):
    """A mixture of experts with a discrete, unobserved choice, as a scikit-learn classifier.

    X is an array of numbers `[N, D]` (or `[N, ...]`, for images), or a data frame of pandas or polars. A data frame's
    text and category columns are encoded, its missing values filled and marked; categories that were rare or unknown
    in fitting count as "other". An array must be finite. All is standardised inside.

    Args:
        n_experts: K, how many experts.
        expert: "mlp", "linear" or "conv" (for images).
        expert_hidden: widths of an expert's hidden layers.
        gate_hidden: widths of the gate's hidden layers; none: a linear gate.
        trunk_hidden: widths of a trunk that gate and experts share.
        dropout: after each hidden layer of experts and trunk.
        objective: what is maximised, one of `gatewise.objectives.names()`.
        objective_options: the objective's own options, or None.
        estimator: the gradient estimator where the objective takes one, one of `gatewise.estimators.names()`.
        estimator_options: the estimator's own options, or None.
        samples: draws an example, S.
        temperature: of the estimator or hard EM: a number or a schedule "FORM:FROM:TO".
        baseline: of the estimator.
        regulariser: weights of the gate's regularisers, `{"load": 0.1}` or `("load=0.1",)`; None: none.
        epochs: passes over the rows, at most; None: 2000 steps' worth, from 15 to 300.
        batch_size: rows a step; None: a twentieth of the rows, from 64 to 256.
        lr: AdamW's learning rate at the start.
        gate_lr: the gate's own; None: `lr`, and more for a linear gate of under 1600 inputs (see docs/defaults.md).
        lr_schedule: "cosine" or "constant".
        weight_decay: AdamW's decoupled weight decay.
        clip: largest norm of the gradient; 0: not clipped.
        early_stopping: True holds `validation_fraction` of the rows out, by class, stops when their NLL has not fallen
            for `patience` epochs, and keeps the best weights; False trains all epochs on all rows; "auto" holds rows
            out where there are at least 200, and enough of every class.
        validation_fraction: share of the rows held out.
        patience: epochs; 0: never stops early; None: a quarter of the epochs.
        class_weight: None, "balanced" (n_samples / (n_classes * weight of the class's rows)), or weights by label.
        numeric: "standard", or for data frames "quantile": how numbers are scaled.
        missing: the texts that stand for a missing value in a data frame.
        route: how predictions are made: "mixture" by all experts, "top1" by the gate's first choice alone, "topk" by
            its `top_k` first.
        top_k: k of "topk".
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: "auto" (bfloat16 on CUDA), "float32" or "bfloat16", in training.
        settings: further keys of the configuration (`gatewise.config.RunConfig`), such as `{"accumulate": 2}`.
        random_state: an int fixes the rows held out, the weights, the noise and the order of rows.
        verbose: 1 prints a line an epoch.

    Attributes:
        classes_: the labels, `[C]`.
        n_features_in_: columns of X.
        feature_names_in_: their names, where they have names.
        mixture_: the `gatewise.MixtureOfExperts`.
        experts_: the experts as plain modules.
        model_: the mixture with its preprocessing.
        history_: one dictionary an epoch.
        n_iter_: epochs trained.
        best_iter_: the epoch whose weights were kept, from 1.

    Warnings about the gate (collapsed, without a choice, with dead experts) are `ConvergenceWarning`s of `fit`.

    Raises:
        GatewiseError: when fitted, for a parameter or rows that cannot be used; it is a `ValueError`.
    """

    def __init__(
        self,
        n_experts: int = 4,
        *,
        expert: str = "mlp",
        expert_hidden: Sequence[int] = (128,),
        gate_hidden: Sequence[int] = (),
        trunk_hidden: Sequence[int] = (),
        dropout: float = 0.2,
        objective: str = "jensen",
        objective_options: Mapping[str, Any] | None = None,
        estimator: str | None = None,
        estimator_options: Mapping[str, Any] | None = None,
        samples: int | None = None,
        temperature: float | str | None = None,
        baseline: str | None = None,
        regulariser: Mapping[str, float | str] | Sequence[str] | None = ("importance=0.3", "load=0.3"),
        epochs: int | None = None,
        batch_size: int | None = None,
        lr: float = 1e-3,
        gate_lr: float | None = None,
        lr_schedule: str = "cosine",
        weight_decay: float = 1e-2,
        clip: float = 1.0,
        early_stopping: bool | str = "auto",
        validation_fraction: float = 0.125,
        patience: int | None = None,
        class_weight: Mapping[Any, float] | str | None = None,
        numeric: str = "standard",
        missing: Sequence[str] = MISSING,
        route: str = "mixture",
        top_k: int = 2,
        device: str = "auto",
        precision: str = "auto",
        settings: Mapping[str, Any] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ):
        self.n_experts = n_experts
        self.expert = expert
        self.expert_hidden = expert_hidden
        self.gate_hidden = gate_hidden
        self.trunk_hidden = trunk_hidden
        self.dropout = dropout
        self.objective = objective
        self.objective_options = objective_options
        self.estimator = estimator
        self.estimator_options = estimator_options
        self.samples = samples
        self.temperature = temperature
        self.baseline = baseline
        self.regulariser = regulariser
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.gate_lr = gate_lr
        self.lr_schedule = lr_schedule
        self.weight_decay = weight_decay
        self.clip = clip
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.class_weight = class_weight
        self.numeric = numeric
        self.missing = missing
        self.route = route
        self.top_k = top_k
        self.device = device
        self.precision = precision
        self.settings = settings
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "MixtureOfExpertsClassifier":
        """Train on rows X and labels y `[N]`.

        Args:
            X: rows, see the class.
            y: labels of any kind that scikit-learn takes for classes.
            sample_weight: how much each row counts in the objective, `[N]`; a row of weight 0 is left out altogether.

        Raises:
            ValueError: for a parameter or rows that cannot be used.
        """
        config = to_config(self)
        records, y, weights = self._rows(X, y, sample_weight, config, fresh=True)
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise GatewiseError(
                f"y has only one class, {shown(classes[0])}, in the {len(y)} rows that count; a classifier needs two"
            )
        numbers = torch.from_numpy(codes)
        weight = self._weight(classes, numbers, weights)
        parts = self._split(y, codes, config.seed)
        self._learn(config, records, parts, numbers, weight, [str(name) for name in classes])
        self.classes_ = classes
        return self

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> "MixtureOfExpertsClassifier":
        """One more epoch on further rows, at a constant learning rate, without rows held out.

        The first call (unless `fit` came before) settles the preprocessing, from its rows, and the classes. Later
        calls go on with the optimiser's state; schedules stay where they begin.

        Args:
            X: rows.
            y: labels.
            classes: all that there will be; needed in the first call.
            sample_weight: weights `[N]`, here not relative to their mean, as no call knows the rows of the others.

        Raises:
            ValueError: for a parameter or rows that cannot be used, or another set of classes.
        """
        config = to_config(self)
        if isinstance(self.class_weight, str):
            raise GatewiseError("class_weight='balanced' needs all rows at once; give partial_fit weights by label")
        fresh = not hasattr(self, "model_")
        _check_partial_fit_first_call(self, classes)
        records, y, weights = self._rows(X, y, sample_weight, config, fresh=fresh)
        numbers = self._encode(y)
        weight = self._weight(self.classes_, numbers, weights)
        self._go_on(config, records, numbers, weight, [str(name) for name in self.classes_])
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label of each row, `[N]`."""
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """p(y|x) of every class, `[N, C]`, by `route`."""
        return self._answers(X, lambda mixture, x: mixture.predict_proba(x, self.route, self.top_k))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """log p(y|x) of every class, `[N, C]`, by `route`."""
        if self.route == "mixture":
            return self._answers(X, lambda mixture, x: mixture(x))
        return self._answers(X, lambda mixture, x: mixture.predict_proba(x, self.route, self.top_k).log())

    def posterior(self, X: Any, y: Any) -> np.ndarray:
        """p(z|x,y): each expert's responsibility for the label y of the row, `[N, K]`.

        Raises:
            ValueError: for a label that is none of `classes_`.
        """
        check_is_fitted(self)
        y = column_or_1d(y)
        check_consistent_length(X, y)
        return self._answers(X, lambda mixture, x, y: mixture.posterior(x, y), self._encode(y))

    def _rows(
        self, X: Any, y: Any, sample_weight: Any, config: RunConfig, fresh: bool
    ) -> tuple[Records, np.ndarray, np.ndarray | None]:
        """Rows, labels and weights, without the rows of weight 0."""
        if y is None:
            raise ValueError(f"This {type(self).__name__} requires y to be passed, but the target y is None.")
        records = fitting_records(self, X, config) if fresh else self._records(X)
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        check_labels(y)
        check_consistent_length(records, y)
        check_classification_targets(y)
        return kept(checked_weights(sample_weight, X), records, y)

    def _weight(self, classes: np.ndarray, numbers: Tensor, weights: np.ndarray | None) -> Tensor | None:
        """Weights of rows times those of their classes, where there are any."""
        weight = None if weights is None else torch.from_numpy(weights)
        by_class = of_rows(class_weights(self.class_weight, classes.tolist(), numbers, weight), numbers)
        if weight is None or by_class is None:
            return by_class if weight is None else weight
        return weight * by_class

    def _encode(self, y: np.ndarray) -> Tensor:
        """The numbers of labels, int64 `[N]`; raises ValueError for one that is none of `classes_`."""
        encoder = LabelEncoder()
        encoder.classes_ = self.classes_
        return torch.from_numpy(encoder.transform(y))

    def _split(self, y: np.ndarray, codes: np.ndarray, seed: int) -> list[np.ndarray]:
        """The rows to train on and those to stop by, or all rows alone."""
        fraction, hold = self.validation_fraction, self.early_stopping
        if hold == "auto":
            hold = len(y) >= ENOUGH and fraction * np.bincount(codes).min() >= 1
        if not hold:
            return [np.arange(len(y))]
        try:
            parts = split(y, test_size=0.0, validation_size=fraction, seed=seed)
        except GatewiseError as error:
            said = str(error).replace("validation_size", "validation_fraction")
            raise GatewiseError(f"{said}; or set early_stopping=False") from None
        return [parts.train, parts.validation]
