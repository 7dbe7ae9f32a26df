"""Tasks: everything in a run that differs by the kind of its targets, where they are no classes.

A head that is added to `gatewise.models.spec.HEADS` gets its line in `KINDS`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from gatewise.config.run import RunConfig
from gatewise.data import Records
from gatewise.data.number_format import PLAIN
from gatewise.data.preprocessing.one_pass import ColumnMoments
from gatewise.data.preprocessing.outliers import median_and_spread
from gatewise.data.targets import check_mixed, number_format_of, target_labels, target_numbers, two_valued
from gatewise.errors import GatewiseError
from gatewise.metrics.base import TargetTally
from gatewise.metrics.multilabel import LabelTally
from gatewise.metrics.quantiles import mixture_quantile
from gatewise.metrics.regression import NumberTally, gate_and_experts
from gatewise.mixture import MixtureOfExperts
from gatewise.models.spec import ModelSpec

FAR = 100.0
"""Units from 0 beyond which targets are kept in float64: in float32 they would lose digits."""
MANY = 2.0**20
"""Mean of counts beyond which they are: float32 holds all whole numbers up to 16 times that."""


class Kind(Protocol):
    """What a head of this kind needs of a run; `name` is its targets in the plural, `told` what predictions have."""

    name: str
    told: str

    def defaults(self, config: RunConfig) -> dict[str, Any]:
        """Keys of the configuration that have another value where they are not set."""
        ...

    def described(self, head: str, whole: Iterable[Records], train: Iterable[Records]) -> dict[str, Any]:
        """The keys of `ModelSpec` that describe the targets of all rows and of those to train on, each in parts.

        Raises:
            GatewiseError: for targets that the head does not take.
        """
        ...

    def encoded(self, spec: ModelSpec, records: Records) -> Tensor:
        """The targets as the mixture takes them.

        Raises:
            GatewiseError: for rows without targets, or others than those trained on.
        """
        ...

    def tally(self, spec: ModelSpec, mixture: MixtureOfExperts) -> TargetTally:
        """What all figures are made from."""
        ...

    def predicted(self, spec: ModelSpec, mixture: MixtureOfExperts, x: Tensor, route: str, k: int) -> Mapping[str, Any]:
        """The columns of a prediction of rows x, but for the expert."""
        ...


class NumberTask:
    """A number a row: see docs/heads.md for the two defaults that differ."""

    name, told = "numbers", "sd and quantiles"

    def defaults(self, config: RunConfig) -> dict[str, Any]:
        """A gate that is sure before the experts have found their numbers gives all rows to one of them."""
        balance = {} if "regulariser" in config.model_fields_set else {"regulariser": {"importance": 0.1, "load": 0.1}}
        return balance | ({"gate_lr": config.lr} if config.gate_lr is None else {})

    def described(self, head: str, whole: Iterable[Records], train: Iterable[Records]) -> dict[str, Any]:
        """See `scaling`; and how the numbers are written."""
        form = PLAIN
        for part in whole:
            check_mixed(part.name, part.targets, least=0)
            form = number_format_of(part.targets) or PLAIN
            target_numbers(part.known_labels(), head, part.place, form)
        written = {} if form == PLAIN else {"target_format": form}
        return scaling(head, (target_numbers(part.known_labels(), head, part.place, form) for part in train)) | written

    def encoded(self, spec: ModelSpec, records: Records) -> Tensor:
        """`[N]`, as `as_targets` has them."""
        form = number_format_of(records.targets) or spec.target_format or PLAIN
        numbers = target_numbers(records.known_labels(), spec.head, records.place, form)
        return as_targets(numbers, spec.head, spec.target_location, spec.target_unit)

    def tally(self, spec: ModelSpec, mixture: MixtureOfExperts) -> NumberTally:
        """With CRPS and intervals."""
        return NumberTally(mixture)

    def predicted(self, spec: ModelSpec, mixture: MixtureOfExperts, x: Tensor, route: str, k: int) -> Mapping[str, Any]:
        """`mean`, `sd` and quantiles."""
        return predicted_numbers(mixture, x, route, k)


def scaling(head: str, parts: Iterable[np.ndarray]) -> dict[str, float]:
    """Where the experts begin and what they count in, of the numbers to train on: `target_location`, `target_unit`.

    Mean and standard deviation for a Gaussian, whose likelihood is quadratic: however far one number is, the squares
    are then 1 on average. Median and interquartile range for Student's t, which has tails for what is far out: no
    sentinel moves them. For counts 0 and the mean, which the rate begins near. The likelihood stays in units of y.
    """
    if head == "student-t":
        location, unit = median_and_spread(parts)
    else:
        moments = ColumnMoments.of(parts)
        location, unit = float(moments.mean), math.sqrt(moments.variance)
    if head == "poisson":
        location, unit = 0.0, location
    return {"target_location": location, "target_unit": unit or 1.0}


def as_targets(numbers: np.ndarray, head: str, target_location: float, target_unit: float) -> Tensor:
    """Numbers `[N]` as a mixture with this `scaling` takes them: float32, or float64 where that would lose digits."""
    far = abs(target_location) > FAR * target_unit
    wide = far or (head == "poisson" and target_unit > MANY)
    return torch.from_numpy(numbers.astype(np.float64 if wide else np.float32))


class Labels:
    """Several labels a row, each there or not."""

    name, told = "labels", "the probability of each"

    def defaults(self, config: RunConfig) -> dict[str, Any]:
        """None: those of classes do."""
        return {}

    def described(self, head: str, whole: Iterable[Records], train: Iterable[Records]) -> dict[str, Any]:
        """The labels' names, and of each the value that counts as 0 and the one that counts as 1."""
        return {"labels": [{"name": name, "values": list(values.names)} for name, values in two_valued(whole)]}

    def encoded(self, spec: ModelSpec, records: Records) -> Tensor:
        """float32 `[N, L]` of 0 and 1."""
        names = [label.name for label in spec.labels]
        return torch.from_numpy(target_labels(records, names, [label.values for label in spec.labels]))

    def tally(self, spec: ModelSpec, mixture: MixtureOfExperts) -> LabelTally:
        """With figures of each label."""
        return LabelTally(mixture, names=[label.name for label in spec.labels])

    def predicted(self, spec: ModelSpec, mixture: MixtureOfExperts, x: Tensor, route: str, k: int) -> Mapping[str, Any]:
        """The probability of each label."""
        return predicted_labels(mixture, x, route, k, [label.name for label in spec.labels])


KINDS: dict[str, Kind] = {
    "gaussian": NumberTask(),
    "student-t": NumberTask(),
    "poisson": NumberTask(),
    "bernoulli": Labels(),
}
"""By the names of heads without classes."""


def tally_of(spec: ModelSpec, mixture: MixtureOfExperts, batches: Iterable[Sequence[Tensor]]) -> TargetTally:
    """What all figures of a mixture without classes are made from, over pairs of x and y."""
    return KINDS[spec.head].tally(spec, mixture).all_of(batches)


def with_head(config: RunConfig, head: str) -> RunConfig:
    """The configuration for a head, with its own defaults for what is not set: see docs/heads.md.

    Raises:
        GatewiseError: for what needs classes.
    """
    if head not in KINDS:
        return config.model_copy(update={"head": head})
    kind = KINDS[head]
    if config.class_weight is not None:
        raise GatewiseError(f"class_weight is for classes, and the head {head} predicts {kind.name}; leave it out")
    if config.objective_options.get("posterior") == "amortised":
        raise GatewiseError(f"posterior = 'amortised' guesses from classes, and the head {head} has none; leave it out")
    return config.model_copy(update={"head": head, **kind.defaults(config)})


def predicted_numbers(mixture: MixtureOfExperts, x: Tensor, route: str, k: int) -> dict[str, Any]:
    """The columns of a prediction of numbers: `mean`, `sd`, and the quantiles `q05`, `q25`, `q50`, `q75`, `q95`."""
    gate, of_experts = gate_and_experts(mixture, x, route, k)
    means, variances = of_experts.mean.numpy(), of_experts.variance.numpy()
    mean = (gate * means).sum(1)
    sd = np.sqrt((gate * (variances + (means - mean[:, None]) ** 2)).sum(1))
    quantiles = {f"q{100 * q:02.0f}": mixture_quantile(gate, of_experts, q) for q in (0.05, 0.25, 0.5, 0.75, 0.95)}
    return {"mean": mean, "sd": sd, **quantiles}


def predicted_labels(mixture: MixtureOfExperts, x: Tensor, route: str, k: int, names: Sequence[str]) -> dict[str, Any]:
    """The columns of a prediction of labels: of each the probability that it is there."""
    probs = mixture.predict_mean(x, route, k).cpu().numpy()
    return {f"p_{name}": probs[:, i] for i, name in enumerate(names)}
