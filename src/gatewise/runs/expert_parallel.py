"""A run whose experts are spread over processes: what it takes, and how many hold them."""

import math
from pathlib import Path

import torch

from gatewise import distributed
from gatewise.config.run import RunConfig
from gatewise.distributed import Group
from gatewise.errors import GatewiseError
from gatewise.mixture import MixtureOfExperts
from gatewise.training.checkpoints.folder import Checkpoints

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


class ExpertParallel:
    """The processes that the experts of a run are spread over; or none, where each has all of them.

    Where a run goes on by a number of processes that `expert_parallel` does not divide, the experts are spread over as
    many as divide both.

    Args:
        config: of the run.
        group: the processes that train it.
        device: that they train on.
    """

    def __init__(self, config: RunConfig, group: Group, device: torch.device):
        self.config, self.group = config, group
        over = math.gcd(config.expert_parallel, group.size)
        self.mesh = None if over == 1 else distributed.expert_mesh(experts=over, device=device)

    def shard(self, mixture: MixtureOfExperts) -> MixtureOfExperts:
        """The mixture, with its experts spread."""
        return mixture if self.mesh is None else distributed.shard_experts(mixture, self.mesh)

    def gather(self, mixture: MixtureOfExperts) -> None:
        """Give the first process, which judges and writes the model, all experts."""
        if self.mesh is not None:
            distributed.gather_experts(mixture, everywhere=False)

    def checkpoints(self, folder: Path) -> Checkpoints:
        """Where the run keeps its state: in one form for all processes that may go on with it."""
        if self.config.expert_parallel == 1:
            return Checkpoints(folder)
        from gatewise.training.checkpoints.sharded import ShardedCheckpoints  # see gatewise.training.__getattr__

        return ShardedCheckpoints(folder, self.group)
