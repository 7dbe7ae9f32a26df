"""Training by several processes, on torch's own engine: torchrun starts them, torch.distributed joins them."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatewise.distributed.fsdp import shard_mixture
    from gatewise.distributed.gradient_sync import GradientSync
    from gatewise.distributed.group import ALONE, Group
    from gatewise.distributed.launch_env import end_with_launcher, is_leader, launched
    from gatewise.distributed.mesh import expert_mesh
    from gatewise.distributed.micro_batch import MicroBatch, micro_batches
    from gatewise.distributed.rendezvous import join_processes, local_device
    from gatewise.distributed.sharded_bank import ShardedBank
    from gatewise.distributed.sharding import gather_experts, shard_experts

PLACES = {
    "fsdp": ("shard_mixture",),
    "gradient_sync": ("GradientSync",),
    "group": ("ALONE", "Group"),
    "launch_env": ("end_with_launcher", "is_leader", "launched"),
    "mesh": ("expert_mesh",),
    "micro_batch": ("MicroBatch", "micro_batches"),
    "rendezvous": ("join_processes", "local_device"),
    "sharded_bank": ("ShardedBank",),
    "sharding": ("gather_experts", "shard_experts"),
}
"""Where the names are. They are imported when they are first asked for: the command line asks whether this process is
the first long before it needs torch, and torch's own part in sharding takes a second."""

__all__ = [
    "ALONE",
    "GradientSync",
    "Group",
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
    """A name that is imported when it is first asked for."""
    place = next((place for place, names in PLACES.items() if name in names), None)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{place}"), name)
