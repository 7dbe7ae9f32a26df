"""Rows that were trained on: a hash of each, kept with the run, so that figures of such rows are not believed."""

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gatewise.files import check_regular, replacing

NAME = "training_rows.safetensors"
MOST = 2**20
"""Rows of a training whose hashes are kept; of more none are."""
FACTOR = np.uint64(0x9E3779B97F4A7C15)


def hashes(x: Tensor) -> np.ndarray:
    """A hash of each row of `[N, ...]` as the mixture takes it, uint64 `[N]`; equal rows have equal ones."""
    # + 0 makes the two zeros one
    bits = (np.ascontiguousarray(x.cpu().flatten(1).float().numpy()) + np.float32(0)).view(np.uint32)
    found = np.full(len(bits), bits.shape[1], dtype=np.uint64)
    for column in bits.T:  # by column, as rows are many and columns few
        found = (found ^ column) * FACTOR
        found ^= found >> np.uint64(29)
    return found


class SeenRows:
    """Counts the rows that were trained on.

    Args:
        known: hashes of the rows trained on, sorted.
    """

    def __init__(self, known: np.ndarray):
        self.known, self.rows, self.seen = known, 0, 0

    def update(self, x: Tensor) -> None:
        """Add rows."""
        own = hashes(x)
        place = np.searchsorted(self.known, own).clip(max=len(self.known) - 1)
        self.rows += len(own)
        self.seen += int((self.known[place] == own).sum()) if len(self.known) else 0

    @classmethod
    def of(cls, x: Tensor) -> "SeenRows":
        """Of the rows `[N, ...]` that are trained on."""
        return cls(np.unique(hashes(x)))

    def save(self, folder: Path) -> None:
        """Write the hashes into a run folder."""
        with replacing(folder / NAME) as part:
            save_file({"hashes": torch.from_numpy(self.known.view(np.int64))}, part)

    @classmethod
    def load(cls, folder: Path) -> "SeenRows | None":
        """What a run folder holds; None where it holds none that can be read: a warning less, no wrong figure."""
        path = folder / NAME
        try:
            if check_regular(path) > 8 * MOST + 2**16:
                return None
            known = load_file(path)["hashes"]
        except (OSError, KeyError, SafetensorError):
            return None
        usable = known.dtype == torch.int64 and known.dim() == 1 and len(known) <= MOST
        return cls(np.sort(known.numpy().view(np.uint64))) if usable else None
