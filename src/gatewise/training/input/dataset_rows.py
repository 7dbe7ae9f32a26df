"""Rows from a `torch.utils.data.Dataset`: all its pairs as two tensors, which is what `fit` takes."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gatewise.errors import GatewiseError


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
