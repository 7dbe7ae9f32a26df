"""Training on tensors: `fit`, one step, the loop, resuming, several starts."""

from typing import TYPE_CHECKING, Any

from gatewise.training.callbacks import Callback, TensorBoard
from gatewise.training.fit import fit
from gatewise.training.input.datasets import rows_of
from gatewise.training.loop import Fit

if TYPE_CHECKING:
    from gatewise.training.checkpoints.sharded import ShardedCheckpoints

__all__ = [
    "Callback",
    "Fit",
    "ShardedCheckpoints",
    "TensorBoard",
    "fit",
    "rows_of",
]


def __getattr__(name: str) -> Any:
    """`ShardedCheckpoints`, imported when it is first asked for: torch's part in it takes a second."""
    if name != "ShardedCheckpoints":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gatewise.training.checkpoints.sharded import ShardedCheckpoints

    return ShardedCheckpoints
