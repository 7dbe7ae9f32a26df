"""A run whose experts are spread over processes: what it takes, and how many hold them."""

import math

import torch
from torch.distributed.device_mesh import DeviceMesh

from gatewise.distributed import Group, expert_mesh
from gatewise.errors import GatewiseError
from gatewise.training.config import RunConfig

ALONE_KEYS = {
    "audit_every": "an audit runs in one process",
    "reseed_after": "a dead expert and the one that it would copy may be held by two processes",
}
"""Keys that need all experts in one process, and why."""


def check_expert_parallel(config: RunConfig, group: Group) -> None:
    """Refuse what experts that are spread over processes cannot do.

    Raises:
        GatewiseError: for processes that cannot share the experts out, experts that are no bank, or a key that needs
            them all.
    """
    over = config.expert_parallel
    if over == 1:
        return
    if group.size % over:
        raise GatewiseError(
            f"expert_parallel = {over} spreads the experts over {over} processes, and {group.size} "
            f"{'trains' if group.size == 1 else 'train'}; give --processes {over}, or a multiple of it"
        )
    if config.expert == "conv":
        raise GatewiseError("expert = 'conv' cannot be spread; take expert = 'mlp' or 'linear', or expert_parallel = 1")
    for key, reason in ALONE_KEYS.items():
        if getattr(config, key):
            raise GatewiseError(f"{key} does not work where experts are spread: {reason}; leave it out")


def mesh_of(config: RunConfig, group: Group, device: torch.device) -> DeviceMesh | None:
    """The processes of a run as a mesh; None where each has all experts.

    Where a run goes on by a number of processes that `expert_parallel` does not divide, the experts are spread over as
    many as divide both.
    """
    over = math.gcd(config.expert_parallel, group.size)
    return None if over == 1 else expert_mesh(experts=over, device=device)
