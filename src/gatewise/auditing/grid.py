"""The grid of settings that an audit tries: estimators, temperatures, numbers of samples."""

import copy
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from gatewise import estimators
from gatewise.errors import GatewiseError
from gatewise.estimators import Baseline, GradientEstimator, Tempered
from gatewise.expectation import check_estimator, check_num_samples

Choice = str | tuple[str, dict[str, Any]] | GradientEstimator
"""A name, a name and options, or an estimator as it is."""

NUM_SAMPLES = (1, 2, 4)
"""Samples that an audit tries of itself with estimators that run only what they draw; of others, one."""
TEMPERATURES = (1.0, 0.5, 0.1)
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "score-function": [{"baseline": "none"}, {"baseline": "running-mean"}, {"baseline": "leave-one-out"}],
    "selected-relaxation": [{}, {"baseline": "running-mean", "scale": 2.0}],
}
"""Options that an audit tries of itself, for estimators whose defaults do not tell all."""


@dataclass(frozen=True)
class Setting:
    """One estimator with its options, at one number of samples.

    Attributes:
        estimator: made anew, or a copy of one that was given; in inference mode once it is warm.
        options: those that differ from its defaults, temperature included.
        num_samples: S.
        warm: its baselines and control variates have learned already.
        own: it is the one that the model is trained with.
    """

    estimator: GradientEstimator
    options: dict[str, Any]
    num_samples: int
    warm: bool = False
    own: bool = False

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it from other settings: the seed of its noise."""
        return self.estimator.name, repr(sorted(self.options.items())), self.num_samples

    def most_evaluations(self, num_categories: int) -> int:
        """The most categories that an example can come to, for one latent."""
        return self.estimator.evaluations(self.num_samples, num_categories)

    @property
    def temperature(self) -> float | None:
        """λ, where there is one to choose."""
        estimator = self.estimator
        return (
            estimator.temperature
            if isinstance(estimator, Tempered) and "temperature" in _parameters(estimator)
            else None
        )


@dataclass(frozen=True)
class Refused:
    """A setting that cannot be audited, and why."""

    estimator: str
    reason: str


def settings(
    chosen: Iterable[Choice] | None,
    num_samples: Sequence[int] | None,
    temperatures: Sequence[float],
    num_categories: int,
    context_dim: int | None,
    own: tuple[Choice, int] | None = None,
) -> tuple[list[Setting], list[Refused]]:
    """Every combination that the estimators take, and those that they refuse.

    Args:
        chosen: None for all that are registered, each with `VARIANTS`.
        num_samples: None for `NUM_SAMPLES` with estimators that run only what they draw, one sample with others.
        temperatures: tried with every estimator that has one and was not given with its own.
        num_categories: K, for estimators that are made for a number of categories.
        context_dim: features of the context, for those that learn from it.
        own: the estimator that the model is trained with, and its number of samples: an extra setting, marked so.

    Raises:
        GatewiseError: for an unknown name or option, or values that no estimator takes.
    """
    found: list[Setting] = []
    refused: list[Refused] = []
    if own is not None:
        if not (isinstance(own, tuple) and len(own) == 2 and isinstance(own[1], int)):
            raise GatewiseError(f"own must be an estimator and its number of samples, as ('rebar', 1), got {own!r}")
        choice, count = own
        for estimator, options, warm in _made(choice, temperatures[:1], num_categories, context_dim):
            check_num_samples(estimator, count)
            found.append(Setting(copy.deepcopy(estimator), options, count, warm, own=True))
    for choice in _choices(chosen, none_is_fine=own is not None):
        for estimator, options, warm in _made(choice, temperatures, num_categories, context_dim):
            counts = num_samples or (NUM_SAMPLES if estimator.calls == {"index"} else (estimator.sample_counts.start,))
            taken = [count for count in counts if count in estimator.sample_counts]
            if estimator.calls == {"all"}:
                taken = [estimator.sample_counts.start]  # it sums over all, however many samples it is told
            new = [Setting(copy.deepcopy(estimator), options, count, warm) for count in taken]
            found += [each for each in new if not (own and each.key == found[0].key)]
            if not taken:
                refused.append(Refused(estimator.name, _refusal(estimator, counts[0])))
    return found, refused


def checked_counts(num_samples: int | Iterable[int] | None) -> tuple[int, ...] | None:
    """Numbers of samples as a tuple, each once.

    Raises:
        GatewiseError: for one that is not a positive integer.
    """
    if num_samples is None:
        return None
    counts = tuple(num_samples) if isinstance(num_samples, Iterable) else (num_samples,)
    for count in counts:
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise GatewiseError(f"num_samples must be positive integers, got {count!r}")
    return tuple(dict.fromkeys(counts)) or None


def checked_temperatures(temperatures: float | Iterable[float]) -> tuple[float, ...]:
    """Temperatures as a tuple, each once.

    Raises:
        GatewiseError: for one that is not a positive number, or for none.
    """
    many = (temperatures,) if isinstance(temperatures, int | float) else tuple(temperatures)
    for value in many:
        if not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise GatewiseError(f"temperatures must be positive numbers, got {value!r}")
    if not many:
        raise GatewiseError("temperatures must hold at least one, such as (1.0, 0.5)")
    return tuple(dict.fromkeys(float(value) for value in many))


def _choices(chosen: Iterable[Choice] | None, none_is_fine: bool) -> list[Choice]:
    if chosen is None:
        return [(name, options) for name in estimators.names() for options in VARIANTS.get(name, [{}])]
    one = isinstance(chosen, str | GradientEstimator) or _is_pair(chosen)
    found: list[Choice] = [cast(Choice, chosen)] if one else list(chosen)
    if not found and not none_is_fine:
        raise GatewiseError("estimators must name at least one; leave it out for all")
    return found


def _is_pair(choice: Any) -> bool:
    return isinstance(choice, tuple) and len(choice) == 2 and isinstance(choice[0], str) and isinstance(choice[1], dict)


def _made(
    choice: Choice, temperatures: Sequence[float], num_categories: int, context_dim: int | None
) -> list[tuple[GradientEstimator, dict[str, Any], bool]]:
    """The estimators that one choice stands for: estimator, options, whether it has learned already."""
    if isinstance(choice, GradientEstimator):
        check_estimator(choice)
        return [(choice, _differing(choice), True)]
    if not isinstance(choice, str) and not _is_pair(choice):
        raise GatewiseError(f"estimators must be names, (name, options) pairs or estimators, got {choice!r}")
    name, options = (choice, {}) if isinstance(choice, str) else choice
    known = estimators.options(name)
    # one that learns its temperature starts from its own
    if "temperature" in known and "learn_temperature" not in known and "temperature" not in options:
        many = [{**options, "temperature": temperature} for temperature in temperatures]
    else:
        many = [options]
    made = estimators.get_fitting
    return [
        (made(name, num_categories, context_dim, **each), {key: _plain(value) for key, value in each.items()}, False)
        for each in many
    ]


def _differing(estimator: GradientEstimator) -> dict[str, Any]:
    """The options that an estimator seems to have been made with, where they are plain values."""
    found = {}
    for name, parameter in _parameters(estimator).items():
        value = getattr(estimator, name, parameter.default)
        if isinstance(value, str | int | float | Baseline) and _plain(value) != parameter.default:
            found[name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    """An option as JSON and a table take it."""
    if isinstance(value, Baseline):
        return getattr(value, "name", type(value).__name__)
    return value if isinstance(value, str | int | float | list | dict | None) else str(value)


def _parameters(estimator: GradientEstimator) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(type(estimator)).parameters)


def _refusal(estimator: GradientEstimator, count: int) -> str:
    try:
        check_num_samples(estimator, count)
    except GatewiseError as error:
        return str(error)
    return "it takes none of the numbers of samples"
