"""The classifier."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,  # pyrefly: ignore[missing-module-attribute]
    check_classification_targets,
)
from sklearn.utils.validation import column_or_1d
from torch import Tensor

from gatewise.data import split
from gatewise.errors import GatewiseError
from gatewise.sklearn.base import ENOUGH, MixtureEstimator
from gatewise.sklearn.frames import check_labels
from gatewise.training.input.sample_weights import class_weights, of_rows
from gatewise.wording import shown


@dataclass(eq=False, repr=False)
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

    >>> from sklearn.datasets import load_iris
    >>> from gatewise.sklearn import MixtureOfExpertsClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MixtureOfExpertsClassifier(n_experts=2, lr=0.01, epochs=40, random_state=0).fit(X, y)
    >>> model.predict_proba(X).shape, model.score(X, y) > 0.9
    ((150, 3), True)
    """

    class_weight: Mapping[Any, float] | str | None = None

    # `classes` stands where scikit-learn's classifiers have it
    def partial_fit(  # pyrefly: ignore[bad-override]
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> Self:
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
        if isinstance(self.class_weight, str):
            raise GatewiseError("class_weight='balanced' needs all rows at once; give partial_fit weights by label")
        _check_partial_fit_first_call(self, classes)
        return super().partial_fit(X, y, sample_weight)

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
        codes = self._encode(self._targets_of(X, y))
        return self._answers(X, lambda mixture, x, y: mixture.posterior(x, y), codes)

    def _checked(self, y: Any) -> np.ndarray:
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        check_labels(y)
        check_classification_targets(y)
        return y

    def _hold_out(self, y: np.ndarray, seed: int) -> list[np.ndarray]:
        self.classes_, counts = np.unique(y, return_counts=True)
        if len(self.classes_) < 2:
            raise GatewiseError(
                f"y has only one class, {shown(self.classes_[0])}, in the {len(y)} rows that count; a classifier needs "
                "two"
            )
        fraction, hold = self.validation_fraction, self.early_stopping
        if hold == "auto":
            hold = len(y) >= ENOUGH and fraction * counts.min() >= 1
        if not hold:
            return [np.arange(len(y))]
        try:
            parts = split(y, test_size=0.0, validation_size=fraction, seed=seed)
        except GatewiseError as error:
            said = str(error).replace("validation_size", "validation_fraction")
            raise GatewiseError(f"{said}; or set early_stopping=False") from None
        return [parts.train, parts.validation]

    def _encode(self, y: np.ndarray) -> Tensor:
        """The numbers of labels, int64 `[N]`; raises ValueError for one that is none of `classes_`."""
        encoder = LabelEncoder()
        encoder.classes_ = self.classes_
        return torch.from_numpy(encoder.transform(y))

    def _target_spec(self) -> dict[str, Any]:
        return {"classes": [str(name) for name in self.classes_]}

    def _weigh(self, y: np.ndarray, weights: np.ndarray | None) -> Tensor | None:
        """Weights of rows times those of their classes, where there are any."""
        weight, numbers = super()._weigh(y, weights), self._encode(y)
        by_class = of_rows(class_weights(self.class_weight, self.classes_.tolist(), numbers, weight), numbers)
        if weight is None or by_class is None:
            return by_class if weight is None else weight
        return weight * by_class
