"""A batch cut into micro-batches, and each of those into the shares of the processes.

The loss of a whole batch is Σ (rows of a part / rows of the batch) · loss of the part, for micro-batches and processes
alike, so that both are parts of one and the same sum.
"""

from dataclasses import dataclass

from gatewise.distributed.group import Group
from gatewise.errors import GatewiseError


@dataclass(frozen=True)
class MicroBatch:
    """One process's part of a micro-batch.

    Attributes:
        start: where it begins in the whole batch.
        first: where it begins in the micro-batch.
        rows: how many it has.
        total: rows of the micro-batch over all processes.
    """

    start: int
    first: int
    rows: int
    total: int


def micro_batches(rows: int, pieces: int, group: Group) -> list[MicroBatch]:
    """The parts of a batch of so many rows, cut into at most `pieces` micro-batches as `Tensor.chunk` cuts.

    Raises:
        GatewiseError: if a process would have no row.
    """
    size = -(-rows // pieces)
    totals = [min(size, rows - start) for start in range(0, rows, size)]
    if min(totals) < group.size:
        raise GatewiseError(
            f"a step on {rows} row{'s' * (rows > 1)} in {len(totals)} micro-batch{'es' * (len(totals) > 1)} does not "
            f"give each of the {group.size} processes a row; take fewer processes, or a larger batch_size"
        )
    parts = []
    for i, total in enumerate(totals):
        first, count = group.share(total)
        parts.append(MicroBatch(i * size + first, first, count, total))
    return parts
