"""Streams of random numbers: seeds from one, states that are kept, and noise by row and step alone."""

import torch
from torch import Tensor

from gatewise.distributed import Group, MicroBatch
from gatewise.noise import SharedGenerator


def seeds(seed: int, count: int) -> list[int]:
    """Seeds of streams that have nothing to do with each other, from one."""
    return torch.randint(2**62, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def random_states(device: torch.device) -> dict[str, Tensor]:
    """The state of torch's global generators that training draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_states(states: dict[str, Tensor], device: torch.device) -> None:
    """What `random_states` gave."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def noise_source(seed: int, device: torch.device, group: Group) -> torch.Generator:
    """The estimator's noise: of several processes one and the same."""
    source = torch.Generator if group.size == 1 else SharedGenerator
    return source(device).manual_seed(seed)


def point_at(generator: torch.Generator, part: MicroBatch) -> None:
    """Let noise that the processes share be that of this part's rows."""
    if isinstance(generator, SharedGenerator):
        generator.first, generator.total = part.first, part.total


def seed_dropout(seed: int, step: int, group: Group) -> None:
    """Let each of several processes draw its own dropout, by the step, so that it is known where training goes on."""
    if group.size > 1:
        torch.manual_seed((seed + step * group.size + group.rank) % 2**63)
