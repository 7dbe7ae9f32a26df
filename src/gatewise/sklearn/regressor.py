"""The regressor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import column_or_1d
from torch import Tensor

from gatewise.config import RunConfig
from gatewise.errors import GatewiseError, check_choice, check_interval
from gatewise.metrics.quantiles import mixture_quantile, routed
from gatewise.mixture import DistributionHead, MixtureOfExperts
from gatewise.mixture.heads import HEADS
from gatewise.models.task import KINDS, NumberTask, as_targets, scaling, with_head
from gatewise.sklearn.base import ENOUGH, MixtureEstimator


@dataclass(eq=False, repr=False)
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

    >>> import numpy as np
    >>> from gatewise.sklearn import MixtureOfExpertsRegressor
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> model = MixtureOfExpertsRegressor(n_experts=2, epochs=20, random_state=0).fit(X, abs(X[:, 0]))
    >>> model.predict(X).shape, model.predict_interval(X, level=0.9).shape
    ((200,), (200, 2))
    """

    head: str = "gaussian"
    regulariser: Mapping[str, float | str] | Sequence[str] | None = ("importance=0.1", "load=0.1")

    def predict(self, X: Any) -> np.ndarray:
        """E[y|x], `[N]`, by `route`."""
        return self._answers(X, lambda mixture, x: mixture.predict_mean(x, self.route, self.top_k))[:, 0]

    def predict_quantile(self, X: Any, q: float | Sequence[float] = 0.5) -> np.ndarray:
        """The quantiles of p(y|x), by `route`: `[N]` for one q, `[N, Q]` for several.

        Raises:
            ValueError: for a q that is not above 0 and below 1.
        """
        asked = np.atleast_1d(np.asarray(q, dtype=np.float64))
        for each in asked:
            check_interval(float(each), "(0, 1)", "q")
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
        check_interval(level, "(0, 1)", "level")
        return self.predict_quantile(X, [(1 - level) / 2, (1 + level) / 2])

    def log_prob(self, X: Any, y: Any) -> np.ndarray:
        """log p(y|x) of each row in nats, `[N]`: a density in units of y, or the probability of a count."""
        targets = torch.from_numpy(self._targets_of(X, y))
        return self._answers(X, lambda mixture, x, y: mixture.log_prob(x, y), targets)

    def posterior(self, X: Any, y: Any) -> np.ndarray:
        """p(z|x,y): each expert's responsibility for y of the row, `[N, K]`."""
        targets = torch.from_numpy(self._targets_of(X, y))
        return self._answers(X, lambda mixture, x, y: mixture.posterior(x, y), targets)

    def _config(self) -> RunConfig:
        """The configuration, for a head that is known and an objective that needs no classes."""
        check_choice(self.head, [name for name, kind in KINDS.items() if isinstance(kind, NumberTask)], "head")
        return with_head(super()._config(), self.head)

    def _checked(self, y: Any) -> np.ndarray:
        """Targets as float64 `[N]`, which the head takes."""
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        try:
            y = y.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise GatewiseError(f"y must hold numbers: {error}") from None
        head = HEADS.named(self.head)()
        assert isinstance(head, DistributionHead)
        head.check(torch.from_numpy(y))
        return y

    def _hold_out(self, y: np.ndarray, seed: int) -> list[np.ndarray]:
        parts = [np.arange(len(y))]
        if self.early_stopping and (self.early_stopping != "auto" or len(y) >= ENOUGH):
            count = int(np.ceil(self.validation_fraction * len(y)))
            if count == len(y):
                raise GatewiseError(f"early_stopping holds all {count} rows out; give more, or early_stopping=False")
            order = np.random.RandomState(seed).permutation(len(y))
            parts = [np.sort(order[count:]), np.sort(order[:count])]
        self._fit_scale(y[parts[0]])
        return parts

    def _fit_scale(self, y: np.ndarray) -> None:
        found = scaling(self.head, [y])
        self.y_location_, self.y_scale_ = found["target_location"], found["target_unit"]

    def _encode(self, y: np.ndarray) -> Tensor:
        return as_targets(y, self.head, self.y_location_, self.y_scale_)

    def _target_spec(self) -> dict[str, Any]:
        target = {"target_location": self.y_location_, "target_unit": self.y_scale_}
        return {"classes": (), "head": self.head, "target": target}

    def _gate_and_outputs(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """p(z|x) `[N, K]` and what the experts put out `[N, K, O]`."""

        def of(mixture: MixtureOfExperts, x: Tensor) -> Tensor:
            features, logits = mixture.read(x)
            return torch.cat([logits.softmax(-1).unsqueeze(-1), mixture.outputs(features, logits)], -1)

        answers = self._answers(X, of)
        return answers[..., 0], answers[..., 1:]
