"""Training by several processes, on torch's own engine: torchrun starts them, torch.distributed joins them."""

from gatewise.distributed.copies import Copies
from gatewise.distributed.group import ALONE, Group, LostProcess
from gatewise.distributed.joining import joined, own_device
from gatewise.distributed.launched import end_with_launcher, is_leader, launched
from gatewise.distributed.shares import MicroBatch, micro_batches

__all__ = [
    "ALONE",
    "Copies",
    "Group",
    "LostProcess",
    "MicroBatch",
    "end_with_launcher",
    "is_leader",
    "joined",
    "launched",
    "micro_batches",
    "own_device",
]
