"""What several processes have tallied, put together as they do."""

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor

from gatewise.metrics.base import TargetTally

T = TypeVar("T", bound=TargetTally)


def of_two_processes(make: Callable[[], T], x: Tensor, y: Tensor, cut: int) -> T:
    """The tally of the second of two, which have the rows before and from `cut` on."""
    first, second = make(), make()
    first.update(x[:cut], y[:cut])
    second.update(x[cut:], y[cut:])
    sent: list[Tensor] = []
    first.reduce(lambda sums: sent.append(sums) or sums)
    second.reduce(lambda sums: sums + sent[0])
    return second
