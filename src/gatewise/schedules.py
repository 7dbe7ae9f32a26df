"""Schedules: functions of training progress in [0, 1], for temperatures and for weights."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from gatewise.errors import GatewiseError

Schedule = Callable[[float], float]
"""Progress in [0, 1] to a value."""


@dataclass(frozen=True)
class Constant:
    """The same value throughout.

    >>> import gatewise as gw
    >>> gw.schedules.Constant(0.5)(progress=0.9)
    0.5
    """

    value: float

    def __call__(self, progress: float) -> float:
        """The value at `progress`."""
        return self.value


@dataclass(frozen=True)
class Linear:
    """start + (end - start) · progress.

    >>> import gatewise as gw
    >>> gw.schedules.Linear(1.0, 0.5)(progress=0.5)
    0.75
    """

    start: float
    end: float

    def __call__(self, progress: float) -> float:
        """The value at `progress`."""
        return self.start + (self.end - self.start) * progress


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from start to end: flat at both ends.

    >>> import gatewise as gw
    >>> schedule = gw.schedules.Cosine(1.0, 0.5)
    >>> schedule(0.0), round(schedule(0.5), 4), schedule(1.0)
    (1.0, 0.75, 0.5)
    """

    start: float
    end: float

    def __call__(self, progress: float) -> float:
        """The value at `progress`."""
        return self.end + (self.start - self.end) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Exponential:
    """start · (end / start) ** progress: equal ratios in equal times. Both ends must be positive.

    >>> import gatewise as gw
    >>> round(gw.schedules.Exponential(1.0, 0.25)(progress=0.5), 4)
    0.5
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        if not (self.start > 0 and self.end > 0):
            raise GatewiseError(
                f"an exponential schedule needs two positive ends, got {self.start} and {self.end}; use linear"
            )

    def __call__(self, progress: float) -> float:
        """The value at `progress`."""
        return self.start * (self.end / self.start) ** progress


@dataclass(frozen=True)
class Step:
    """values[i] in the i-th of len(values) equal parts of training.

    >>> import gatewise as gw
    >>> schedule = gw.schedules.Step((1.0, 0.5, 0.1))
    >>> schedule(0.3), schedule(0.5), schedule(1.0)
    (1.0, 0.5, 0.1)
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise GatewiseError("a step schedule needs at least one value")

    def __call__(self, progress: float) -> float:
        """The value at `progress`."""
        return self.values[min(int(progress * len(self.values)), len(self.values) - 1)]


KINDS: dict[str, Callable[..., Schedule]] = {
    "constant": Constant,
    "linear": Linear,
    "cosine": Cosine,
    "exponential": Exponential,
    "step": lambda *values: Step(values),
}
"""The schedules that have a text form, by its first word: `exponential:1:0.3`."""


def as_schedule(value: "float | str | Schedule") -> Schedule:
    """A number, a schedule, or its text form, as a schedule.

    The text form is a number ("0.5") or a kind and its numbers: "linear:1:0.3", "cosine:1:0.3",
    "exponential:1:0.3", "step:1:0.5:0.3", "constant:0.5".

    Raises:
        GatewiseError: for text that is neither.

    >>> import gatewise as gw
    >>> gw.schedules.as_schedule("exponential:1:0.3"), gw.schedules.as_schedule(0.5)
    (Exponential(start=1.0, end=0.3), Constant(value=0.5))
    """
    if callable(value):
        return value
    if not isinstance(value, str):
        value = str(value)
    kind, *texts = value.strip().split(":")
    try:
        numbers = [float(text) for text in texts or [kind]]
        # float() takes nan and inf for numbers
        if not all(map(math.isfinite, numbers)):
            raise ValueError
        return KINDS[kind](*numbers) if texts else Constant(*numbers)
    except (KeyError, ValueError, TypeError) as error:
        if isinstance(error, GatewiseError):
            raise
        raise GatewiseError(
            f"{value!r} is not a schedule; give a number, linear:FROM:TO, cosine:FROM:TO, exponential:FROM:TO "
            "or step:A:B:C"
        ) from None


LOWEST, HIGHEST = 1e-4, 1e4
"""The range of temperatures. In float32 the highest of perturbed logits are told apart to some 1e-7: where λ is not far
above that, what a relaxation gives hangs on rounding; and beyond the other end nothing is left of the logits."""


def check_temperature(value: float, what: str, lowest: float = LOWEST) -> float:
    """The value, if it is a temperature.

    Args:
        value: to look at.
        what: it is, with whose.
        lowest: the least that serves, where no noise is divided by it.

    Raises:
        GatewiseError: if it is outside of `lowest` to `HIGHEST`.

    >>> import gatewise as gw
    >>> gw.schedules.check_temperature(0.5, "the temperature")
    0.5
    """
    if not lowest <= value <= HIGHEST:
        wrong = f"lie between {lowest:g} and {HIGHEST:g}" if value > 0 else "be positive"
        raise GatewiseError(f"{what} must {wrong}, got {value:g}; let its schedule stay within, such as linear:1:0.1")
    return value


def check_temperatures(schedule: Schedule, what: str, lowest: float = LOWEST) -> None:
    """Refuse now, and not in the middle of training, a schedule that leaves the range in any hundredth of it.

    Args:
        schedule: of the temperature.
        what: it is, with whose.
        lowest: as for `check_temperature`.

    Raises:
        GatewiseError: as `check_temperature`.

    >>> import gatewise as gw
    >>> gw.schedules.check_temperatures(gw.schedules.Linear(1.0, 0.0), "the temperature")
    Traceback (most recent call last):
        ...
    gatewise.errors.GatewiseError: the temperature must be positive, got 0; let its schedule stay within, such as...
    """
    for percent in range(101):
        check_temperature(schedule(percent / 100), what, lowest)
