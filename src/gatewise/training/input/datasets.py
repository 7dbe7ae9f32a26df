"""Rows that are read and prepared as a training needs them, where all of them are too many for memory."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from gatewise.data import Records, StoredRows
from gatewise.training.data_parallel import Shares
from gatewise.training.input.batching import prefetched, rebatched
from gatewise.training.input.epoch import Rows

BATCH = 4096
"""Rows at a time, where their order is that of the files."""
HELD = 100_000
"""Rows, about, that stand for all where something looks at many at once."""
BUFFER_VALUES, MOST_BUFFER = 2**24, 200_000
"""Of the buffer that rows are shuffled in, where it is not set."""


def default_buffer(columns: int) -> int:
    """Rows of the buffer for so many columns: 16 million values, at most 200,000 rows."""
    return max(1, min(MOST_BUFFER, BUFFER_VALUES // columns))


@dataclass(frozen=True, eq=False)
class RowStream:
    """Rows on disk as a mixture takes them, in whatever batches are asked for.

    Attributes:
        rows: as they are read.
        columns: of the features that are wanted.
        prepare: makes x and y of some of them.
        buffer: rows that are shuffled with each other.
        class_weight: how much a row of each class counts, `[C]`, relative to the mean of the rows; None: all the same.
    """

    rows: StoredRows
    columns: Sequence[str]
    prepare: Callable[[Records], Rows]
    buffer: int
    class_weight: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, share: tuple[int, int] = (0, 1)) -> Iterator[tuple[Tensor, ...]]:
        """x, y and, where classes have weights, those of the rows, in the order of the files.

        Args:
            share: (r, n) takes every n-th block of rows from block r on.
        """
        return self._made(self.rows.records(self.columns, share=share), BATCH)

    def shuffled(self, seed: int, shares: Shares, skip: int = 0) -> Iterator[tuple[Tensor, ...]]:
        """This process's part of each batch of an epoch, as `batches` has it, in an order of chance.

        Args:
            seed: of the order.
            shares: the batches.
            skip: so many batches are left out at the beginning, and mostly not read.
        """
        rows = self.rows.shuffled(seed, self.buffer, self.columns, shares.own, shares.start(skip))
        return self._made(rows, shares.sizes(skip))

    def shares(self, count: int) -> bool:
        """Whether each of so many processes has a row, where each takes every so many-th block."""
        return all(self.rows.counts[i::count].any() for i in range(count))

    def held(self, count: int = HELD) -> Rows:
        """About so many of them, drawn at random."""
        return self.prepare(self.rows.sample(count, self.columns))

    def _made(self, parts: Iterable[Records], size: int | Iterable[int]) -> Iterator[tuple[Tensor, ...]]:
        with contextlib.closing(prefetched(map(self._weighted, parts))) as ready:
            yield from rebatched(ready, size)

    def _weighted(self, records: Records) -> tuple[Tensor, ...]:
        x, y = self.prepare(records)
        return (x, y) if self.class_weight is None else (x, y, self.class_weight[y])


def batches_of(rows: Rows | RowStream) -> Iterable[tuple[Tensor, ...]]:
    """x and y in batches, wherever they are."""
    if isinstance(rows, RowStream):
        return rows.batches()
    return zip(*(column.split(BATCH) for column in rows), strict=True)


def held_rows(rows: Rows | RowStream, count: int = HELD) -> Rows:
    """Rows in memory themselves; of those on disk about so many, drawn at random."""
    return rows.held(count) if isinstance(rows, RowStream) else rows


def count_of(rows: Rows | RowStream) -> int:
    """How many there are."""
    return len(rows) if isinstance(rows, RowStream) else len(rows[0])
