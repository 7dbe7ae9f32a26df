"""Training by several processes, on torch's own engine: torchrun starts them, torch.distributed joins them."""

import importlib
from typing import TYPE_CHECKING, Any

from gatewise.distributed.gradient_sync import GradientSync
from gatewise.distributed.group import ALONE, Group, LostProcess
from gatewise.distributed.launch_env import end_with_launcher, is_leader, launched
from gatewise.distributed.mesh import expert_mesh
from gatewise.distributed.micro_batches import MicroBatch, micro_batches
from gatewise.distributed.rendezvous import join_processes, local_device

if TYPE_CHECKING:
    from gatewise.distributed.fsdp import shard_mixture
    from gatewise.distributed.sharded_bank import ShardedBank
    from gatewise.distributed.sharding import gather_experts, shard_experts

LATER = {
    "ShardedBank": "sharded_bank",
    "gather_experts": "sharding",
    "shard_experts": "sharding",
    "shard_mixture": "fsdp",
}
"""Where names are that are imported when they are first asked for, since torch's part in them takes a second."""

__all__ = [
    "ALONE",
    "GradientSync",
    "Group",
    "LostProcess",
    "MicroBatch",
    "ShardedBank",
    "end_with_launcher",
    "expert_mesh",
    "gather_experts",
    "is_leader",
    "join_processes",
    "launched",
    "local_device",
    "micro_batches",
    "shard_experts",
    "shard_mixture",
]


def __getattr__(name: str) -> Any:
    """A name that is imported late."""
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{LATER[name]}"), name)
