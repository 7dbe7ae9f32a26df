"""The regressor."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d
from torch import Tensor

from gatewise.config import RunConfig
from gatewise.data import MISSING, Records
from gatewise.errors import GatewiseError
from gatewise.metrics.quantiles import mixture_quantile, routed
from gatewise.mixture import DistributionHead, MixtureOfExperts
from gatewise.mixture.heads import HEADS
from gatewise.models.task import KINDS, Numbers, as_targets, scaling, with_head
from gatewise.sklearn.base import ENOUGH, MixtureEstimator, checked_weights, kept
from gatewise.sklearn.frames import fitting_records
from gatewise.sklearn.parameters import to_config
from gatewise.wording import instead


class MixtureOfExpertsRegressor(RegressorMixin, MixtureEstimator):
    """A mixture of experts with a discrete, unobserved choice, as a scikit-learn regressor.

    It fits a whole distribution p(y|x) = Σ_z p(z|x) p(y|z,x), which may have several modes; `predict` gives its mean,
    `predict_quantile` and `predict_interval` its quantiles, `log_prob` its density. Rows are as for
    `MixtureOfExpertsClassifier`.

    Args:
        head: what an expert's answer is: "gaussian" (a mean and a scale for each row), "student-t" (and degrees of
            freedom, for outliers), or "poisson" (for counts).

    The other parameters are those of `MixtureOfExpertsClassifier`, without `class_weight`; rows are held out at random.
    The gate learns at the experts' rate unless `gate_lr` says otherwise: with one or two columns, a gate that is sure
    before the experts have found their numbers gives all rows to one of them. Such a gate needs less balance: 0.1.
    `route` bears on `predict`, `predict_quantile` and `predict_interval`.

    Attributes:
        y_location_: where the experts begin: the mean of y on the rows trained on, for "student-t" its median, and 0
            for "poisson".
        y_scale_: what they count in: the standard deviation, for "student-t" the interquartile range / 1.349, which an
            outlier does not move, and for "poisson" the mean.

    The other attributes are those of `MixtureOfExpertsClassifier`, without `classes_`; `mixture_` speaks of y in its
    own units.

    Raises:
        GatewiseError: when fitted, for a parameter or rows that cannot be used; it is a `ValueError`.
    """

    def __init__(
        self,
        n_experts: int = 4,
        *,
        head: str = "gaussian",
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
        regulariser: Mapping[str, float | str] | Sequence[str] | None = ("importance=0.1", "load=0.1"),
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
        self.head = head
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
        self.numeric = numeric
        self.missing = missing
        self.route = route
        self.top_k = top_k
        self.device = device
        self.precision = precision
        self.settings = settings
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "MixtureOfExpertsRegressor":
        """Train on rows X and numbers y `[N]`.

        Args:
            X: rows.
            y: what to predict.
            sample_weight: how much each row counts in the objective, `[N]`; a row of weight 0 is left out altogether.

        Raises:
            ValueError: for a parameter or rows that cannot be used.
        """
        config = self._config()
        records, y, weights = self._rows(X, y, sample_weight, config, fresh=True)
        parts = self._split(len(y), config.seed)
        target = self._scaling(y[parts[0]])
        weight = None if weights is None else torch.from_numpy(weights)
        self._learn(config, records, parts, self._as_targets(y), weight, head=self.head, target=target)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> "MixtureOfExpertsRegressor":
        """One more epoch on further rows, as `MixtureOfExpertsClassifier.partial_fit`; the first settles y's scale.

        Raises:
            ValueError: for a parameter or rows that cannot be used.
        """
        config = self._config()
        fresh = not hasattr(self, "model_")
        records, y, weights = self._rows(X, y, sample_weight, config, fresh=fresh)
        target = self._scaling(y) if fresh else None
        weight = None if weights is None else torch.from_numpy(weights)
        self._go_on(config, records, self._as_targets(y), weight, head=self.head, target=target)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """E[y|x], `[N]`, by `route`."""
        return self._answers(X, lambda mixture, x: mixture.predict_mean(x, self.route, self.top_k))[:, 0]

    def predict_quantile(self, X: Any, q: float | Sequence[float] = 0.5) -> np.ndarray:
        """The quantiles of p(y|x), by `route`: `[N]` for one q, `[N, Q]` for several.

        Raises:
            ValueError: for a q that is not above 0 and below 1.
        """
        asked = np.atleast_1d(np.asarray(q, dtype=np.float64))
        if not ((asked > 0) & (asked < 1)).all():
            raise GatewiseError(f"q must be above 0 and below 1, got {q}")
        self.mixture_.check_route(self.route, self.top_k)
        gate, outputs = self._gate_and_outputs(X)
        gate = routed(gate, self.route, self.top_k)
        head = self.mixture_.head
        assert isinstance(head, DistributionHead)
        of_experts = head.distribution(torch.from_numpy(outputs))
        found = np.stack([mixture_quantile(gate, of_experts, each) for each in asked], axis=1)
        return found[:, 0] if np.ndim(q) == 0 else found

    def predict_interval(self, X: Any, level: float = 0.9) -> np.ndarray:
        """The central interval that holds y with probability `level`: low and high, `[N, 2]`.

        Raises:
            ValueError: for a level that is not above 0 and below 1.
        """
        if not 0 < level < 1:
            raise GatewiseError(f"level must be above 0 and below 1, got {level}")
        return self.predict_quantile(X, [(1 - level) / 2, (1 + level) / 2])

    def log_prob(self, X: Any, y: Any) -> np.ndarray:
        """log p(y|x) of each row in nats, `[N]`: a density in units of y, or the probability of a count."""
        return self._answers(X, lambda mixture, x, y: mixture.log_prob(x, y), self._targets(X, y))

    def posterior(self, X: Any, y: Any) -> np.ndarray:
        """p(z|x,y): each expert's responsibility for y of the row, `[N, K]`."""
        return self._answers(X, lambda mixture, x, y: mixture.posterior(x, y), self._targets(X, y))

    def _config(self) -> RunConfig:
        """The configuration, for a head that is known and an objective that needs no classes."""
        known = [name for name, kind in KINDS.items() if isinstance(kind, Numbers)]
        if self.head not in known:
            raise GatewiseError(f"unknown head {self.head!r}{instead(str(self.head), known)}")
        return with_head(to_config(self), self.head)

    def _rows(
        self, X: Any, y: Any, sample_weight: Any, config: RunConfig, fresh: bool
    ) -> tuple[Records, np.ndarray, np.ndarray | None]:
        """Rows, targets and weights, without the rows of weight 0."""
        if y is None:
            raise ValueError(f"This {type(self).__name__} requires y to be passed, but the target y is None.")
        records = fitting_records(self, X, config) if fresh else self._records(X)
        y = self._numbers(y)
        check_consistent_length(records, y)
        return kept(checked_weights(sample_weight, X), records, y)

    def _targets(self, X: Any, y: Any) -> Tensor:
        check_is_fitted(self)
        y = self._numbers(y)
        check_consistent_length(X, y)
        return torch.from_numpy(y)

    def _numbers(self, y: Any) -> np.ndarray:
        """Targets as float64 `[N]`, which the head takes."""
        y, head = finite_numbers(y), HEADS.named(self.head)()
        assert isinstance(head, DistributionHead)
        head.check(torch.from_numpy(y))
        return y

    def _scaling(self, y: np.ndarray) -> dict[str, float]:
        """Settle location and scale, by the rows to train on."""
        found = scaling(self.head, [y])
        self.y_location_, self.y_scale_ = found["target_location"], found["target_unit"]
        return found

    def _as_targets(self, y: np.ndarray) -> Tensor:
        return as_targets(y, self.head, self.y_location_, self.y_scale_)

    def _split(self, rows: int, seed: int) -> list[np.ndarray]:
        """The rows to train on and those to stop by, or all rows alone."""
        if (self.early_stopping == "auto" and rows < ENOUGH) or not self.early_stopping:
            return [np.arange(rows)]
        count = int(np.ceil(self.validation_fraction * rows))
        if count == rows:
            raise GatewiseError(f"early_stopping holds all {rows} rows out; give more rows, or early_stopping=False")
        order = np.random.RandomState(seed).permutation(rows)
        return [np.sort(order[count:]), np.sort(order[:count])]

    def _gate_and_outputs(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """p(z|x) `[N, K]` and what the experts put out `[N, K, O]`."""

        def of(mixture: MixtureOfExperts, x: Tensor) -> Tensor:
            features, logits = mixture.read(x)
            return torch.cat([logits.softmax(-1).unsqueeze(-1), mixture.outputs(features, logits)], -1)

        answers = self._answers(X, of)
        return answers[..., 0], answers[..., 1:]


def finite_numbers(y: Any) -> np.ndarray:
    """Targets as float64 `[N]`.

    Raises:
        ValueError: for another shape, or what is not a finite number.
    """
    y = column_or_1d(y, warn=True)
    assert_all_finite(y, input_name="y")
    try:
        return y.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise GatewiseError(f"y must hold numbers: {error}") from None
