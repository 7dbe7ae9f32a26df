"""What the targets of a head are, where they are no classes: everything in a run that differs by it.

A head that is added to `gatewise.training.model.HEADS` gets its line in `KINDS`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from gatewise.data import Records
from gatewise.data.moments import Moments
from gatewise.data.targets import target_labels, target_numbers, two_valued
from gatewise.mixture import MixtureOfExperts
from gatewise.training.config import RunConfig
from gatewise.training.labels import LabelTally, predicted_labels
from gatewise.training.model import ModelSpec
from gatewise.training.numbers import NumberTally, predicted_numbers
from gatewise.training.tally import TargetTally

FAR = 100.0
"""Standard deviations from 0 beyond which targets are kept in float64: in float32 they would lose digits."""


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


class Numbers:
    """A number a row: see docs/heads.md for the two defaults that differ."""

    name, told = "numbers", "sd and quantiles"

    def defaults(self, config: RunConfig) -> dict[str, Any]:
        """A gate that is sure before the experts have found their numbers gives all rows to one of them."""
        balance = {} if "regulariser" in config.model_fields_set else {"regulariser": {"importance": 0.1, "load": 0.1}}
        return balance | ({"gate_lr": config.lr} if config.gate_lr is None else {})

    def described(self, head: str, whole: Iterable[Records], train: Iterable[Records]) -> dict[str, Any]:
        """Where the experts begin and what they count in: mean and standard deviation, or for counts 0 and the mean."""
        for part in whole:
            target_numbers(part.known_labels(), head, part.place)
        moments = Moments.of(target_numbers(part.known_labels(), head, part.place) for part in train)
        location, spread = float(moments.mean), math.sqrt(moments.variance)
        scaling = (0.0, location or 1.0) if head == "poisson" else (location, spread or 1.0)
        return dict(zip(("target_location", "target_unit"), scaling, strict=True))

    def encoded(self, spec: ModelSpec, records: Records) -> Tensor:
        """`[N]`, in float64 where float32 would lose digits."""
        numbers = torch.from_numpy(target_numbers(records.known_labels(), spec.head, records.place))
        return numbers if abs(spec.target_location) > FAR * spec.target_unit else numbers.float()

    def tally(self, spec: ModelSpec, mixture: MixtureOfExperts) -> NumberTally:
        """With CRPS and intervals."""
        return NumberTally(mixture)

    def predicted(self, spec: ModelSpec, mixture: MixtureOfExperts, x: Tensor, route: str, k: int) -> Mapping[str, Any]:
        """`mean`, `sd` and quantiles."""
        return predicted_numbers(mixture, x, route, k)


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
    "gaussian": Numbers(),
    "student-t": Numbers(),
    "poisson": Numbers(),
    "bernoulli": Labels(),
}
"""By the names of heads without classes."""


def tally_of(spec: ModelSpec, mixture: MixtureOfExperts, batches: Iterable[Sequence[Tensor]]) -> TargetTally:
    """What all figures of a mixture without classes are made from, over pairs of x and y."""
    return KINDS[spec.head].tally(spec, mixture).all_of(batches)
