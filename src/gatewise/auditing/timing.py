"""Timing of experts and of steps on this machine."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from gatewise.mixture import ExpertList, MixtureOfExperts


def seconds_of(action: Callable[[], object], device: torch.device, budget: float = 0.05, most: int = 7) -> float:
    """The median time of `action` in seconds: 1 to `most` calls, as `budget` lets, after one that is not counted."""
    taken = [_once(action, device)]
    while len(taken) <= most and sum(taken) < budget:
        taken.append(_once(action, device))
    return statistics.median(taken[1:] or taken)


def expert_seconds(mixture: MixtureOfExperts, features: Tensor) -> list[float] | None:
    """The time of each expert on all rows of `features`; None where the experts are of one kind and size."""
    experts = mixture.experts
    if not isinstance(experts, ExpertList):
        return None
    shapes = {tuple(p.shape for p in member.parameters()) for member in experts.members}
    if len(shapes) == 1 and len({type(member) for member in experts.members}) == 1:
        return None
    with torch.no_grad():
        return [seconds_of(lambda member=member: member(features), features.device) for member in experts.members]


def _once(action: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    action()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
