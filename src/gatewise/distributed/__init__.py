"""Training by several processes, on torch's own engine: torchrun starts them, torch.distributed joins them."""

from gatewise.distributed.group import ALONE, Group, LostProcess, is_leader, joined, launch_name, launched, own_device
from gatewise.distributed.shares import Copies, MicroBatch, micro_batches

__all__ = [
    "ALONE",
    "Copies",
    "Group",
    "LostProcess",
    "MicroBatch",
    "is_leader",
    "joined",
    "launch_name",
    "launched",
    "micro_batches",
    "own_device",
]
