"""Rows that are read and prepared as a training needs them, where all of them are too many for memory."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gatewise.data import Records, StoredRows
from gatewise.errors import GatewiseError
from gatewise.training.input.batching import Rows, Shares, prefetched, rebatched

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


def rows_of(dataset: Dataset[Any], *, batch_size: int = 1024, num_workers: int = 0) -> tuple[Tensor, Tensor]:
    """All pairs (x, y) of a dataset, read once, in its order: x `[N, ...]` and classes y int64 `[N]`.

    x becomes floating point where it is not: integers keep their values. Everything lies in memory, and what is drawn
    at random in a dataset (a cropped image, say) is drawn once: where that is too little, write the loop around
    `MixtureOfExperts.observe` yourself, with a DataLoader.

    Args:
        dataset: of pairs of a tensor, array or number, all of one shape, and a whole number from 0; with a length or
            iterable.
        batch_size: pairs that are collated at once.
        num_workers: processes that read, as in `DataLoader`.

    Raises:
        GatewiseError: for a dataset of something else, or of nothing.
    """
    xs, ys = [], []
    try:
        # the generator is given, so that torch's global random state stays as it was
        for batch in DataLoader(dataset, batch_size, num_workers=num_workers, generator=torch.Generator()):
            x, y = _pair(batch)
            xs.append(x if x.is_floating_point() else x.float())
            ys.append(y.long())
        if not xs:
            raise ValueError("it is empty")
        x, y = torch.cat(xs), torch.cat(ys)
    except (RuntimeError, TypeError, ValueError) as error:  # shapes that differ, or objects that are no numbers
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise GatewiseError(
            f"{type(dataset).__name__} gives no rows to train on ({reason}); give pairs (x, y) of one shape"
        ) from None
    if int(y.min()) < 0:
        raise GatewiseError(f"{type(dataset).__name__}: class {int(y.min())}; number the classes from 0")
    return x, y


def _pair(batch: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(batch, list | tuple) or len(batch) != 2 or not all(isinstance(each, Tensor) for each in batch):
        raise TypeError("its items are not pairs of numbers")
    x, y = batch
    if y.ndim != 1 or y.is_floating_point() or y.is_complex():
        raise TypeError(f"its classes are {y.dtype} of shape {list(y.shape[1:])}, not one whole number each")
    return x, y
