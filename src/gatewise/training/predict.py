"""Predictions of a trained model: tables that are made as they are asked for."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from gatewise.data import Records
from gatewise.data.writers import writing
from gatewise.training.batches import prefetched, rebatched
from gatewise.training.folder import Model

BATCH_SIZE = 4096


class Predictions:
    """Predictions of rows that come in parts: iterate for tables of at most `batch_size` rows, or `write` them.

    A table has `label`, `p_<class>` for every class, and `expert`, the gate's argmax. The next rows are read and
    prepared while these are predicted, and none are kept. The numbers are the same to the bit however the parts are
    cut; with another batch size or number of threads the probabilities may differ in their last bits.

    Args:
        model: a trained model.
        parts: gives the rows, with or without labels, each time it is called; their order is that of the predictions.
        route: see `MixtureOfExperts.predict_proba`.
        k: experts for route "topk".
        batch_size: rows that the model sees at a time.

    Attributes:
        unknown: after use, in how many rows each column of categories had a value that was rare or new.

    Raises:
        GatewiseError: in use, for rows that do not fit the model, or an unknown route.
    """

    def __init__(
        self,
        model: Model,
        parts: Callable[[], Iterable[Records]],
        *,
        route: str = "mixture",
        k: int = 2,
        batch_size: int = BATCH_SIZE,
    ):
        self.model, self.parts = model, parts
        self.route, self.k, self.batch_size = route, k, batch_size
        self.unknown: dict[str, int] = {}

    def __iter__(self) -> Iterator[pl.DataFrame]:
        self.unknown = {}
        with contextlib.closing(prefetched(self._inputs())) as prepared:
            for (x,) in rebatched(prepared, self.batch_size):
                yield self._predicted(x)

    def _inputs(self) -> Iterator[tuple[Tensor]]:
        """The rows of each part as the mixture takes them."""
        for records in self.parts():
            x = self.model.inputs(records)
            for name, count in self.model.preprocessing.unknown(x.numpy()).items():
                self.unknown[name] = self.unknown.get(name, 0) + count
            yield (x,)

    def frame(self) -> pl.DataFrame:
        """All of them as one table, which has no rows where there were none."""
        none = torch.empty(0, *self.model.spec.input_shape)
        return pl.concat(list(self) or [self._predicted(none)])

    def write(self, path: str | Path) -> int:
        """Write them to a .csv or .parquet file as they come, and return how many there are.

        The file is complete or, whatever goes wrong, as it was before.

        Raises:
            GatewiseError: also for a file that cannot be written.
        """
        with writing(path) as write:
            return sum(write(frame) or len(frame) for frame in self)

    def _predicted(self, x: Tensor) -> pl.DataFrame:
        """The table of rows `[B, ...]` as the mixture takes them."""
        mixture, classes = self.model.mixture, self.model.spec.classes
        with torch.inference_mode():
            x = x.to(next(mixture.parameters()).device)
            probs = mixture.predict_proba(x, self.route, self.k).cpu()
            experts = mixture.read(x)[1].argmax(-1).cpu()
        labels = pl.Series("label", classes, dtype=pl.String).gather(probs.numpy().argmax(1))
        columns = [pl.Series(f"p_{name}", probs[:, c].numpy()) for c, name in enumerate(classes)]
        return pl.DataFrame([labels, *columns, pl.Series("expert", experts.numpy())])


def predictions(
    model: Model, records: Records, *, route: str = "mixture", k: int = 2, batch_size: int = BATCH_SIZE
) -> pl.DataFrame:
    """The `Predictions` of rows that are there already, as one table."""
    return Predictions(model, lambda: [records], route=route, k=k, batch_size=batch_size).frame()
