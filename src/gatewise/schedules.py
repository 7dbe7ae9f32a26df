"""Schedules: functions of training progress in [0, 1], for temperatures and for weights."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from gatewise.errors import GatewiseError

Schedule = Callable[[float], float]
"""Progress in [0, 1] to a value."""


@dataclass(frozen=True)
class Constant:
    """The same value throughout."""

    value: float

    def __call__(self, progress: float) -> float:
        """The value at `progress`."""
        return self.value


@dataclass(frozen=True)
class Linear:
    """start + (end - start) · progress."""

    start: float
    end: float

    def __call__(self, progress: float) -> float:
        """The value at `progress`."""
        return self.start + (self.end - self.start) * progress


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from start to end: flat at both ends."""

    start: float
    end: float

    def __call__(self, progress: float) -> float:
        """The value at `progress`."""
        return self.end + (self.start - self.end) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Exponential:
    """start · (end / start) ** progress: equal ratios in equal times. Both ends must be positive."""

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
    """values[i] in the i-th of len(values) equal parts of training."""

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
    """
    if callable(value):
        return value
    if not isinstance(value, str):
        value = str(value)
    kind, *texts = value.strip().split(":")
    try:
        numbers = [float(text) for text in texts or [kind]]
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


def check_positive(schedule: Schedule, what: str) -> None:
    """Refuse now, and not in the middle of training, a schedule that comes to 0.

    Args:
        schedule: looked at in every hundredth of training.
        what: it is, with whose.

    Raises:
        GatewiseError: if it is not positive throughout.
    """
    for percent in range(101):
        if not schedule(percent / 100) > 0:
            raise GatewiseError(
                f"{what} must be positive, got {schedule(percent / 100)}; let its schedule end above 0, such as "
                "linear:1:0.1"
            )
