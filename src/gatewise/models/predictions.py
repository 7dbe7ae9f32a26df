"""Predictions of a trained model: tables that are made as they are asked for."""

import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from gatewise.data import Records
from gatewise.data.unknown_values import UnknownValues
from gatewise.data.writers import writing
from gatewise.errors import GatewiseError, check_kind
from gatewise.files import as_path, check_output
from gatewise.metrics import tempered
from gatewise.mixture.information import entropy
from gatewise.models.model import Model
from gatewise.models.task import KINDS, Kind
from gatewise.training.input.batching import prefetched, rebatched
from gatewise.wording import instead, shown

BATCH_SIZE = 4096


@dataclass(frozen=True)
class Trust:
    """What is asked of a classifier's predictions besides the labels and their probabilities.

    Attributes:
        calibrated: temper the probabilities by the temperature that was fitted on the run's validation rows.
        uncertainty: add `entropy` = `expected_entropy` + `information`, see `MixtureOfExperts.uncertainty`.
        abstain_above: nats; where the entropy of a row's prediction is above, its label is left empty and `abstained`
            is true. The probabilities stay. Adds `entropy` and `abstained`.

    Raises:
        GatewiseError: for a threshold that is none, or a split of what is calibrated.
    """

    calibrated: bool = False
    uncertainty: bool = False
    abstain_above: float | None = None

    def __post_init__(self):
        above = self.abstain_above
        if above is not None and not 0 <= above < math.inf:
            raise GatewiseError(f"abstain_above takes an entropy in nats of at least 0, got {above}")
        if self.calibrated and self.uncertainty:
            raise GatewiseError(
                "calibrated probabilities are no mixture of the experts' own, so their entropy has no such split; ask "
                "for one of calibrated and uncertainty"
            )


class Predictions:
    """Predictions of rows that come in parts: iterate for tables of at most `batch_size` rows, or `write` them.

    A table has `label`, `p_<class>` for every class, and `expert`, the gate's argmax; `trust` adds to them. For
    numbers it has `mean`, `sd`, `q05`, `q25`, `q50`, `q75`, `q95` and `expert`; for several labels `p_<label>`, the
    probability that it is there, and `expert`.
    The next rows are read and prepared while these are predicted, and none are kept. The numbers are the same to the
    bit however the parts are cut; with another batch size or number of threads the probabilities may differ in their
    last bits.

    Args:
        model: a trained model.
        parts: gives the rows, with or without labels, each time it is called; their order is that of the predictions.
        route: see `MixtureOfExperts.predict_proba`.
        k: experts for route "topk".
        batch_size: rows that the model sees at a time.
        trust: what is asked besides: see `Trust`.
        keep: columns of a table of rows that stand before the predictions, as they were read.
        read_from: the file or folder that the rows come from, which is never written over.

    Attributes:
        unknown: after use, in how many rows each column of categories had a value that was rare or new, and which.

    Raises:
        GatewiseError: for calibrated probabilities where none were fitted for the route; in use, for rows that do not
            fit the model, or an unknown route.
    """

    def __init__(
        self,
        model: Model,
        parts: Callable[[], Iterable[Records]],
        *,
        route: str = "mixture",
        k: int = 2,
        batch_size: int = BATCH_SIZE,
        trust: Trust | None = None,
        keep: Sequence[str] = (),
        read_from: str | None = None,
    ):
        self.model, self.parts, self.keep = model, parts, list(dict.fromkeys(keep))
        self.read_from = [] if read_from is None else [read_from]
        self.kept: deque[pl.DataFrame] = deque()  # of rows that are not predicted yet
        self.route, self.k, self.batch_size = route, k, batch_size
        self.trust = Trust() if trust is None else trust
        check_kind(self.trust, Trust, "trust", "such as gw.models.Trust(calibrated=True)")
        self.kind = KINDS.get(model.spec.head)
        if self.trust != Trust() and self.kind is not None:
            raise GatewiseError(
                f"calibrated, uncertainty and abstain_above are for classes; this run has the head {model.spec.head}, "
                f"and its predictions have {self.kind.told}"
            )
        self.temperature = model.known_calibration().of(route) if self.trust.calibrated else 1.0
        self.unknown = UnknownValues(model.preprocessing)

    def __iter__(self) -> Iterator[pl.DataFrame]:
        self.unknown = UnknownValues(self.model.preprocessing)
        self.kept.clear()
        with contextlib.closing(prefetched(self._inputs())) as prepared:
            for (x,) in rebatched(prepared, self.batch_size):
                yield self._with_kept(self._predicted(x))

    def _inputs(self) -> Iterator[tuple[Tensor]]:
        """The rows of each part as the mixture takes them."""
        for records in self.parts():
            if self.keep:
                self.kept.append(self._columns_to_keep(records))
            x = self.model.inputs(records)
            self.unknown.update(records, x.numpy())
            yield (x,)

    def _columns_to_keep(self, records: Records) -> pl.DataFrame:
        """Of rows that were read.

        Raises:
            GatewiseError: for rows that are no table, or have no such column.
        """
        if not isinstance(records.features, pl.DataFrame):
            raise GatewiseError(f"{records.name} has no columns, so none can be kept; leave keep out")
        if lacking := [name for name in self.keep if name not in records.features.columns]:
            among = instead(lacking[0], records.features.columns)
            raise GatewiseError(f"{records.name}: no column {shown(lacking[0])} to keep{among}")
        return records.features.select(self.keep)

    def _with_kept(self, predicted: pl.DataFrame) -> pl.DataFrame:
        """Predictions behind the columns that are kept of the same rows."""
        if not self.keep:
            return predicted
        if taken := [name for name in self.keep if name in predicted.columns]:
            raise GatewiseError(f"predictions have a column {shown(taken[0])} of their own; rename the one to keep")
        held, wanted = [], len(predicted)
        while wanted:
            part = self.kept.popleft()
            held.append(part.head(wanted))
            if len(part) > wanted:
                self.kept.appendleft(part.slice(wanted))
            wanted -= len(held[-1])
        return pl.concat([pl.concat(held), predicted], how="horizontal")

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
        path = as_path(path, "path")
        check_output(path, self.read_from)
        with writing(path) as write:
            return sum(write(frame) or len(frame) for frame in self)

    def _predicted(self, x: Tensor) -> pl.DataFrame:
        """The table of rows `[B, ...]` as the mixture takes them."""
        if self.kind is not None:
            return self._targets(x, self.kind)
        mixture, classes, trust = self.model.mixture, self.model.spec.classes, self.trust
        with torch.inference_mode():
            x = x.to(next(mixture.parameters()).device)
            probs = mixture.predict_proba(x, self.route, self.k).cpu()
            if self.temperature != 1.0:
                probs = tempered(probs.clamp_min(torch.finfo(probs.dtype).tiny).log(), self.temperature).exp()
            experts = mixture.read(x)[1].argmax(-1).cpu()
            split = mixture.uncertainty(x, self.route, self.k)._asdict() if trust.uncertainty else {}
        labels = pl.Series("label", classes, dtype=pl.String).gather(probs.numpy().argmax(1))
        columns = [pl.Series(f"p_{name}", probs[:, c].numpy()) for c, name in enumerate(classes)]
        columns.append(pl.Series("expert", experts.numpy()))
        columns += [pl.Series(name, values.cpu().numpy()) for name, values in split.items()]
        if trust.abstain_above is not None:
            doubt = pl.Series("entropy", entropy(probs).numpy())
            abstained = (doubt > trust.abstain_above).alias("abstained")
            labels = labels.set(abstained, None)
            columns += [abstained] if split else [doubt, abstained]
        return pl.DataFrame([labels, *columns])

    def _targets(self, x: Tensor, kind: Kind) -> pl.DataFrame:
        mixture = self.model.mixture
        with torch.inference_mode():
            x = x.to(next(mixture.parameters()).device)
            experts = mixture.read(x)[1].argmax(-1).cpu()
            columns = kind.predicted(self.model.spec, mixture, x, self.route, self.k)
        return pl.DataFrame({**columns, "expert": experts.numpy()})


def predictions(
    model: Model, records: Records, *, route: str = "mixture", k: int = 2, batch_size: int = BATCH_SIZE
) -> pl.DataFrame:
    """The `Predictions` of rows that are there already, as one table."""
    return Predictions(model, lambda: [records], route=route, k=k, batch_size=batch_size).frame()
