"""A finished run: its folder, and the model in it."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from gatewise.config.loading import load_config, read_toml
from gatewise.config.run import RunConfig, choose_device
from gatewise.data import BUNDLED, Form, Records, StoredRows, read, stream
from gatewise.data.rare_classes import MERGED, like_trained
from gatewise.data.target_columns import target_columns
from gatewise.errors import GatewiseError
from gatewise.files import as_path, check_links, is_folder, read_json
from gatewise.metrics import Evaluation, Tally, evaluate_batches
from gatewise.metrics.constant import ConstantFigures
from gatewise.models.model import Model
from gatewise.models.predictions import BATCH_SIZE, Predictions, Trust
from gatewise.models.task import KINDS, tally_of
from gatewise.reporting.schemas.run import parse_summary
from gatewise.runs.data import asked_for, form_of_rows, read_parts, with_known
from gatewise.runs.environment import differences
from gatewise.runs.integrity import check_integrity
from gatewise.training.input.batching import prefetched, rebatched

Watch = Callable[[Records, Tensor, Tensor], None]
"""Sees rows and targets as the mixture takes them."""
EARLIER = {"missing_numbers": [], "missing_target": "class", "outliers": "keep", "reading": 1}
"""Keys that older versions did not have, with values that make what they did of a table."""
OLD = ["", "?", "NA"]
"""What older versions took for missing where nothing was said."""


@dataclass(frozen=True)
class Run:
    """A run folder and the model in it."""

    folder: Path
    config: RunConfig
    model: Model
    summary: dict[str, Any]

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> "Run":
        """Read a finished run.

        Raises:
            GatewiseError: if it is not a run folder, something in it is missing or damaged, or its files are not of one
                run.
        """
        folder = as_path(folder, "folder")
        if not is_folder(folder):
            raise GatewiseError(f"there is no run folder {folder}; make one with gatewise train")
        check_links(folder)
        summary = read_json(folder / "summary.json")
        parse_summary(summary, str(folder / "summary.json"))
        config, model = config_of(folder), Model.load(folder / "model", choose_device(device))
        check_integrity(folder, config, summary, model)
        # older versions kept none, and a guess may be another today
        return cls(folder, config.model_copy(update={"head": model.spec.head}), model, summary)

    def read(self, source: str, *, require_target: bool) -> Records:
        """Rows of a file in the form this run was trained on; the test rows of one that has its own."""
        options: dict[str, Any] = {"missing": self.config.missing, "form": self.form}
        options["columns"] = self.model.preprocessing.column_names
        return self._fitting(asked_for(read(source, self.target, require_target=require_target, **options)))

    @property
    def target(self) -> str | None:
        """The column of the labels, by the name that it had in training; None where the data carried their own."""
        return self.summary["data"]["target"] or self.config.target

    @property
    def form(self) -> Form:
        """How further rows are written: as those trained on."""
        form = form_of_rows(self.config, self.summary["data"]["columns"], tuple(self.model.spec.input_shape))
        spec = self.model.spec
        labels = [*spec.classes, *(value for label in spec.labels for value in label.values)]
        return with_known(form, self.model.preprocessing.formats, labels, spec.target_format)

    def stream(self, source: str, *, require_target: bool, keep: Sequence[str] = ()) -> Iterator[Records]:
        """The rows of `read` in parts, with what the model uses of them alone: for files larger than memory.

        The columns `keep` stay besides; where the target is one of them, it is a column like the others.
        """
        options: dict[str, Any] = {"missing": self.config.missing, "form": self.form}
        columns, target = self.model.preprocessing.column_names, self.target
        if keep and columns is not None:
            columns = list(dict.fromkeys([*columns, *keep]))
            target = None if target is not None and set(target_columns(target, keep)) & set(keep) else target
        parts = stream(source, target, require_target=require_target, columns=columns, **options)
        return map(self._fitting, parts)

    def predict(
        self,
        source: str,
        *,
        route: str = "mixture",
        k: int = 2,
        batch_size: int = BATCH_SIZE,
        trust: Trust | None = None,
        keep: Sequence[str] = (),
    ) -> Predictions:
        """The predictions of a file's rows, made as they are asked for: see `Predictions`."""
        as_path(source, "source")  # now, and not when the first row is asked for
        parts = partial(self.stream, source, require_target=False, keep=keep)
        options: dict[str, Any] = {"batch_size": batch_size, "trust": trust, "keep": keep}
        options["read_from"] = None if source in BUNDLED else source
        return Predictions(self.model, parts, route=route, k=k, **options)

    def _fitting(self, rows: Records) -> Records:
        """The rows, rare classes as in training; GatewiseError for images where there were none in training."""
        if rows.images and not self.summary["data"].get("images"):
            raise GatewiseError(f"{rows.name}: images, but the model was not trained on any; give data like its own")
        if self.config.rare_classes == "merge" and MERGED in self.model.spec.classes and rows.labels is not None:
            return like_trained(rows, self.model.spec.classes, "merge")
        return rows

    def test_rows(self) -> Records | StoredRows:
        """The test rows that were kept at training, read again; as they are needed, where they were streamed.

        Raises:
            GatewiseError: if none were kept, or the data have changed since.
        """
        if self.summary["data"]["test_hash"] is None:
            raise GatewiseError("this run kept no test rows (test_size was 0); give the rows to evaluate as DATA")
        test = read_parts(self.config).test
        if test is None or test.hash() != self.summary["data"]["test_hash"]:
            raise GatewiseError(
                f"{self.config.test or self.config.data}, or {self.folder / 'config.toml'}, has changed since this run "
                "was trained, so its test rows cannot be found again; give the rows to evaluate as DATA"
            )
        return test

    def changes(self) -> list[str]:
        """What is not as it was when this run was trained: packages, threads, the device; none where nobody knows."""
        path = self.folder / "environment.json"
        return differences(read_json(path)) if path.exists() else []

    def evaluate(self, records: Records | Iterable[Records], *, calibrated: bool = False) -> Evaluation:
        """The figures of the model on rows with labels, or on parts of them as `stream` gives them.

        Args:
            records: the rows.
            calibrated: judge the probabilities as the fitted temperatures make them; the gate and the bound are of the
                mixture as it is.

        Raises:
            GatewiseError: if there are no labels, one was not seen in training, or no temperatures were fitted.
        """
        return self.tally(records, calibrated=calibrated).result()

    def tally(
        self, records: Records | Iterable[Records], *, calibrated: bool = False, watch: Watch | None = None
    ) -> Tally:
        """As `evaluate`, with `Tally.details` besides the figures; `watch` sees each part, its inputs and targets.

        Raises:
            GatewiseError: also for a run that predicts no classes; see `figures`.
        """
        if kind := KINDS.get(self.model.spec.head):
            raise GatewiseError(f"this run predicts {kind.name} (head {self.model.spec.head}); ask for Run.figures")
        temperatures = self.model.known_calibration().temperatures if calibrated else (1.0, 1.0)
        parts = [records] if isinstance(records, Records) else records
        with contextlib.closing(prefetched(self._rows(parts, watch))) as prepared:
            batches = rebatched(prepared, BATCH_SIZE)
            return evaluate_batches(self.model.mixture, batches, len(self.model.spec.classes), temperatures)

    def figures(self, records: Records | Iterable[Records], *, watch: Watch | None = None) -> dict[str, Any]:
        """The figures by name, whatever is predicted: of `evaluate`, or of what docs/heads.md lists.

        `watch` as in `tally`.

        Raises:
            GatewiseError: if there are no labels, or they do not fit the head.
        """
        if self.model.spec.head not in KINDS:
            tally = self.tally(records, watch=watch)
            return {**tally.result().to_dict(), "classes": tally.by_class(self.model.spec.classes)}
        parts = [records] if isinstance(records, Records) else records
        return tally_of(self.model.spec, self.model.mixture, self._rows(parts, watch)).result()

    def _rows(self, parts: Iterable[Records], watch: Watch | None) -> Iterator[tuple[Tensor, Tensor]]:
        """The rows and targets of each part, as the mixture takes them."""
        for part in parts:
            x, y = self.model.rows(part)
            if watch is not None:
                watch(part, x, y)
            yield x, y

    @property
    def constant(self) -> ConstantFigures:
        """What measures the best answer that does not look at the row, from the rows trained on."""
        return ConstantFigures(self.summary["data"].get("constant") or {})  # older versions kept none


def config_of(folder: Path) -> RunConfig:
    """The configuration that a run folder holds; raises GatewiseError where it is damaged."""
    keys = read_toml(folder / "config.toml")
    # a run writes every key: without these it is of a version that had no other way
    # and where it took nothing further for missing, an empty text neither
    earlier = {} if "reading" in keys else EARLIER
    config = load_config(earlier | keys, dict.fromkeys(keys, str(folder / "config.toml")))
    return config if "reading" in keys else config.model_copy(update={"missing": keys.get("missing", OLD)})
