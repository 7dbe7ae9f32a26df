"""Training by several processes, on torch's own engine: torchrun starts them, torch.distributed joins them."""

from gatewise.distributed.copies import Copies
from gatewise.distributed.fsdp import shard_mixture
from gatewise.distributed.group import ALONE, Group, LostProcess
from gatewise.distributed.joining import joined, own_device
from gatewise.distributed.launched import end_with_launcher, is_leader, launched
from gatewise.distributed.mesh import expert_mesh
from gatewise.distributed.sharded_bank import ShardedBank
from gatewise.distributed.sharding import gather_experts, shard_experts
from gatewise.distributed.shares import MicroBatch, micro_batches

__all__ = [
    "ALONE",
    "Copies",
    "Group",
    "LostProcess",
    "MicroBatch",
    "ShardedBank",
    "end_with_launcher",
    "expert_mesh",
    "gather_experts",
    "is_leader",
    "joined",
    "launched",
    "micro_batches",
    "own_device",
    "shard_experts",
    "shard_mixture",
]
