"""A run: from the configuration to a folder with a trained model, and back."""

import contextlib
import itertools
import shlex
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gatewise import __version__
from gatewise.data import BUNDLED, Classes, Form, Preprocessing, Records, Source, fit_preprocessing, read, split, stream
from gatewise.data.targets import guess_head, target_numbers
from gatewise.diagnostics import Evaluation, Tally, evaluate_batches
from gatewise.errors import GatewiseError
from gatewise.files import held, read_json, write_json, write_text
from gatewise.objectives import Objective, regularisers
from gatewise.reporting import write_report
from gatewise.training.audit_along import AuditAlong, check_audit_every
from gatewise.training.batches import prefetched, rebatched
from gatewise.training.calibration import fit_calibration
from gatewise.training.callbacks import Callback
from gatewise.training.checkpoints import Checkpoints
from gatewise.training.config import LoopConfig, RunConfig, load_config, read_toml
from gatewise.training.folder import Model, environment
from gatewise.training.gate import check_gate
from gatewise.training.heads import scaling_of, with_head
from gatewise.training.judging import can_be_told, judge
from gatewise.training.loop import Fit, fit
from gatewise.training.metrics_file import MetricsFile
from gatewise.training.model import ModelSpec, build_objective, choose_device, samples_of
from gatewise.training.numbers import evaluate_numbers
from gatewise.training.numeric_embedding import quantile_bins
from gatewise.training.predict import BATCH_SIZE, Predictions, Trust
from gatewise.training.start import started_model, taken_over
from gatewise.training.typical import typical
from gatewise.training.weights import class_weights, of_rows


@dataclass(frozen=True)
class Parts:
    """The rows of a run, apart; test is None where none were kept.

    `head` is what the target is, and `guessed` says why where that could be otherwise.
    """

    train: Records
    validation: Records
    test: Records | None
    whole: Records
    head: str = "categorical"
    guessed: str | None = None


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
            GatewiseError: if it is not a run folder, or something in it is missing or damaged.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise GatewiseError(f"there is no run folder {folder}; make one with gatewise train")
        summary = read_json(folder / "summary.json")
        missing = [key for key in ("data", "best_epoch") if key not in summary]
        if missing:
            raise GatewiseError(f"{folder / 'summary.json'} is damaged: it has no {missing[0]}; train the run again")
        config, model = _config_of(folder), Model.load(folder / "model", choose_device(device))
        # older versions kept none, and a guess may be another today
        return cls(folder, config.model_copy(update={"head": model.spec.head}), model, summary)

    def read(self, source: str, *, require_target: bool) -> Records:
        """Rows of a file in the form this run was trained on; the test rows of one that has its own."""
        options: dict[str, Any] = {"missing": self.config.missing, "form": self.form}
        return self._fitting(_asked_for(read(source, self.target, require_target=require_target, **options)))

    @property
    def target(self) -> str | None:
        """The column of the labels, by the name that it had in training; None where the data carried their own."""
        return self.summary["data"]["target"] or self.config.target

    @property
    def form(self) -> Form:
        """How further rows are written: as those trained on."""
        return form_of_rows(self.config, self.summary["data"]["columns"], tuple(self.model.spec.input_shape))

    def stream(self, source: str, *, require_target: bool) -> Iterator[Records]:
        """The rows of `read` in parts, with what the model uses of them alone: for files larger than memory."""
        options: dict[str, Any] = {"missing": self.config.missing, "form": self.form}
        columns = self.model.preprocessing.column_names
        parts = stream(source, self.target, require_target=require_target, columns=columns, **options)
        return map(self._fitting, parts)

    def predict(
        self,
        source: str,
        *,
        route: str = "mixture",
        k: int = 2,
        batch_size: int = BATCH_SIZE,
        trust: Trust | None = None,
    ) -> Predictions:
        """The predictions of a file's rows, made as they are asked for: see `Predictions`."""
        parts = partial(self.stream, source, require_target=False)
        return Predictions(self.model, parts, route=route, k=k, batch_size=batch_size, trust=trust)

    def _fitting(self, rows: Records) -> Records:
        """The rows themselves; GatewiseError for images where there were none in training."""
        if rows.images and not self.summary["data"].get("images"):
            raise GatewiseError(f"{rows.name}: images, but the model was not trained on any; give data like its own")
        return rows

    def test_rows(self) -> Records:
        """The test rows that were kept at training, read again.

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

    def tally(self, records: Records | Iterable[Records], *, calibrated: bool = False) -> Tally:
        """As `evaluate`, with `Tally.details` besides the figures.

        Raises:
            GatewiseError: also for a run that predicts numbers; see `figures`.
        """
        if self.model.spec.head != "categorical":
            raise GatewiseError(f"this run predicts numbers (head {self.model.spec.head}); ask for Run.figures")
        temperatures = self.model.known_calibration().temperatures if calibrated else (1.0, 1.0)
        parts = [records] if isinstance(records, Records) else records
        with contextlib.closing(prefetched(map(self.model.rows, parts))) as prepared:
            batches = rebatched(prepared, BATCH_SIZE)
            return evaluate_batches(self.model.mixture, batches, len(self.model.spec.classes), temperatures)

    def figures(self, records: Records | Iterable[Records]) -> dict[str, float | int]:
        """The figures by name, whatever is predicted: of `evaluate`, or for numbers of `evaluate_numbers`.

        Raises:
            GatewiseError: if there are no labels, or they do not fit the head.
        """
        if self.model.spec.head == "categorical":
            return self.evaluate(records).to_dict()
        parts = [records] if isinstance(records, Records) else records
        return evaluate_numbers(self.model.mixture, map(self.model.rows, parts))


def form_of_rows(config: RunConfig, columns: int, shape: tuple[int, ...]) -> Form:
    """How further rows are read: images as those that were trained on, a table without a header by its width.

    Args:
        config: of the run.
        columns: of its table, without the label.
        shape: of one row as read, an image's `(C, H, W)`.
    """
    form = replace(config.form, features=columns)
    if len(shape) != 3:
        return form
    return replace(form, image_size=(shape[1], shape[2]), image_mode="grey" if shape[0] == 1 else "rgb")


def read_parts(config: RunConfig) -> Parts:
    """Read the data of a run and split them as its seed says.

    Raises:
        GatewiseError: for data that cannot be read or split.
    """
    source = read(config.data, config.target, missing=config.missing, form=config.form)
    rows, test = source.records, source.test
    if config.test is not None:
        form = form_of_rows(config, len(rows.columns or []), rows.features.shape[1:])
        test = _asked_for(read(config.test, rows.target or config.target, missing=config.missing, form=form))
    labels = rows.known_labels()
    head, guessed = guess_head(labels) if config.head is None else (config.head, None)
    if head == "categorical":
        Classes.from_labels(labels, rows.name)
    else:
        target_numbers(labels, head, rows.place)
        labels = np.zeros(len(labels), dtype=int)  # numbers have no classes to be split by
    size = 0.0 if test is not None else config.test_size
    kept = split(labels, test_size=size, validation_size=config.validation_size, seed=config.seed)
    if test is None and len(kept.test):
        test = rows.take(kept.test)
    return Parts(rows.take(kept.train), rows.take(kept.validation), test, rows, head, guessed)


def train(
    config: RunConfig,
    out: str | Path | None = None,
    *,
    callbacks: Iterable[Callback] = (),
    should_stop: Callable[[], bool] = lambda: False,
    command: str | None = None,
) -> Run:
    """Train a mixture on data and write a run folder.

    The same configuration gives the same weights on the same machine and number of threads; torch's global random
    state is left as it was (on the CPU and CUDA).

    Args:
        config: see `RunConfig`.
        out: a folder that does not exist yet, or is empty; None takes the first free one of runs/NAME-1, -2, …
        callbacks: see `Callback`.
        should_stop: asked after every step; true ends training, and the best weights so far are kept.
        command: how to repeat this, for the report; None names the configuration file.

    Raises:
        GatewiseError: for a configuration or data that cannot be used, or a loss that is not finite; a run without
            one finished epoch leaves no folder behind.
    """
    config = continued(config)
    choose_device(config.device)
    with torch.random.fork_rng(devices=[]):
        build_objective(config, features=1)  # what cannot work is refused before the data are read
    check_audit_every(config)
    check_gate(config)
    regularisers(config.regulariser, expert_prior=config.expert_prior)
    parts = read_parts(config)
    config = with_head(with_absolute_paths(config).settled(len(parts.train)), parts.head)
    check_gate(config)
    folder = make_folder(out, config.data)
    with held(folder, _busy(folder)):
        write_text(folder / "config.toml", config.to_toml())
        command = command or f"gatewise train --config {shlex.quote(str(folder / 'config.toml'))}"
        write_json(folder / "environment.json", environment() | {"command": command, "data": parts.whole.hash()})
        try:
            return _trained(config, folder, parts, command, callbacks, should_stop)
        except GatewiseError:
            if not _begun(folder):
                shutil.rmtree(folder)
                if out is None:
                    with contextlib.suppress(OSError):  # other runs are in it
                        folder.parent.rmdir()
            raise


def resume(
    folder: str | Path, *, callbacks: Iterable[Callback] = (), should_stop: Callable[[], bool] = lambda: False
) -> Run:
    """Go on with a training that was interrupted or killed, as if it had not been.

    On the same machine and number of threads the weights, and everything else but times, are those of a training that
    was not interrupted, to the bit. Without a checkpoint it begins again.

    Args:
        folder: the run folder.
        callbacks: see `Callback`.
        should_stop: see `train`.

    Raises:
        GatewiseError: for a folder that is none, a run that is finished or is being trained, or data that have changed.
    """
    folder = Path(folder)
    if not (folder / "config.toml").is_file():
        raise GatewiseError(f"there is no run to go on with in {folder}; make one with gatewise train")
    with held(folder, _busy(folder)):
        if (folder / "summary.json").exists() and not read_json(folder / "summary.json").get("interrupted"):
            raise GatewiseError(
                f"the run {folder} is finished; to train its model further, start another from it with "
                f"--set start_from={folder}"
            )
        config = _config_of(folder)
        there = read_json(folder / "environment.json")
        parts = read_parts(config)
        if parts.whole.hash() != there.get("data"):
            raise GatewiseError(
                f"{config.data} has changed since the run {folder} was begun, so it cannot go on; train anew"
            )
        return _trained(config, folder, parts, str(there.get("command")), callbacks, should_stop)


def _trained(
    config: RunConfig,
    folder: Path,
    parts: Parts,
    command: str,
    callbacks: Iterable[Callback],
    should_stop: Callable[[], bool],
) -> Run:
    """Train in a run folder, from its last checkpoint where it has one, and write what came of it."""
    started, device = time.perf_counter(), choose_device(config.device)
    checkpoints = Checkpoints(folder / "checkpoints")
    with _threads(config.threads), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        prepared = prepare(config, parts, device)
        weights = class_weights(config.class_weight, prepared.model.spec.classes, prepared.rows["train"][1])
        before, _ = checkpoints.latest()
        history = [] if before is None else before.state["history"]
        audits = _audits(config, folder, prepared)
        for audit in audits:
            audit.forget_after(len(history))
        with MetricsFile(folder / "metrics.jsonl", history) as metrics:
            result = fit(
                prepared.model.mixture,
                prepared.objective,
                prepared.rows["train"],
                prepared.rows["validation"],
                LoopConfig(**{name: getattr(config, name) for name in LoopConfig.model_fields}),
                weight=of_rows(weights, prepared.rows["train"][1]),
                validation_weight=of_rows(weights, prepared.rows["validation"][1]),
                regularisers=regularisers(config.regulariser, expert_prior=config.expert_prior),
                num_classes=len(prepared.model.spec.classes),
                callbacks=[metrics, *audits, *callbacks],
                should_stop=should_stop,
                checkpoints=checkpoints,
            )
        if parts.head == "categorical":
            calibration = fit_calibration(prepared.model.mixture, *prepared.rows["validation"])
            prepared = replace(prepared, model=replace(prepared.model, calibration=calibration))
        prepared.model.save(folder / "model")
        summary = summarise(config, parts, prepared, result)
    summary |= {"command": command, "seconds": time.perf_counter() - started}
    write_json(folder / "summary.json", summary)
    write_report(folder)
    if not summary["interrupted"]:
        checkpoints.clear()
    return Run(folder, config, prepared.model, summary)


def _busy(folder: Path) -> str:
    return f"another process trains in {folder}; wait until it ends, or give another folder with --out"


def _begun(folder: Path) -> bool:
    """Whether there is anything in a run folder that took time to make."""
    metrics = folder / "metrics.jsonl"
    return (folder / "checkpoints").exists() or (metrics.exists() and metrics.stat().st_size > 0)


def _config_of(folder: Path) -> RunConfig:
    keys = read_toml(folder / "config.toml")
    return load_config(keys, dict.fromkeys(keys, str(folder / "config.toml")))


def make_folder(out: str | Path | None, data: str) -> Path:
    """Make the run folder: `out`, or the first of runs/NAME-1, runs/NAME-2, … that is not there.

    Raises:
        GatewiseError: if `out` is in use, or cannot be made.
    """
    numbers = itertools.count(1)
    while True:
        folder = Path("runs") / f"{Path(data).stem or 'run'}-{next(numbers)}" if out is None else Path(out)
        try:
            folder.mkdir(parents=True, exist_ok=out is not None)
            if not any(folder.iterdir()):
                return folder
            raise GatewiseError(f"{folder} is there already; give another folder with --out")
        except FileExistsError:
            if out is not None:
                raise GatewiseError(f"{folder} is a file; give a folder with --out") from None
        except OSError as error:
            raise GatewiseError(f"cannot make the run folder {folder}: {error.strerror}; give another --out") from None


@dataclass(frozen=True)
class Prepared:
    """A model and its objective before training, and the rows as they see them."""

    model: Model
    objective: Objective
    rows: dict[str, tuple[torch.Tensor, torch.Tensor]]


def _audits(config: RunConfig, folder: Path, prepared: Prepared) -> list[AuditAlong]:
    """The audit along training, where it is wanted."""
    if not config.audit_every:
        return []
    model, rows = prepared.model.mixture, prepared.rows["train"]
    path = folder / "audits.jsonl"
    draws = samples_of(config) or 1
    return [AuditAlong(path, config.audit_every, model, prepared.objective, draws, rows, config.seed)]


def prepare(config: RunConfig, parts: Parts, device: torch.device) -> Prepared:
    """The model as it is before training, drawn from torch's global random state, and the rows as it sees them.

    Raises:
        GatewiseError: for rows or a configuration that no model can be built for.
    """
    if config.start_from is not None:
        model = started_model(config, Run.load(config.start_from), parts.whole, parts.train, device)
        objective = build_objective(config, model.spec.features, len(model.spec.classes))
    else:
        model, objective = _fresh(config, parts, device)
    named = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    rows = {name: model.rows(records) for name, records in named.items() if records is not None}
    return Prepared(model, objective, rows)


def _fresh(config: RunConfig, parts: Parts, device: torch.device) -> tuple[Model, Objective]:
    labels = parts.whole.known_labels()
    if parts.head == "categorical":
        return assemble(config, parts.train, Classes.from_labels(labels, parts.whole.name).names, device)
    return assemble(config, parts.train, (), device, parts.head, scaling_of(parts.train, parts.head))


def assemble(
    config: RunConfig,
    train: Records,
    classes: Sequence[str],
    device: torch.device,
    head: str = "categorical",
    scaling: tuple[float, float] = (0.0, 1.0),
) -> tuple[Model, Objective]:
    """A model for the rows to train on, as it is before training, and its objective.

    For a `head` of `gatewise.training.model.HEADS` that is not categorical there are no classes, but the location and
    the unit that its numbers are scaled by.

    Raises:
        GatewiseError: for rows or a configuration that no model can be built for.
    """
    preprocessing = fit_preprocessing(train, config.numeric, keep=config.keep, drop=config.drop)
    spec = ModelSpec.from_config(config, preprocessing.input_shape, tuple(classes), head, scaling)
    spec, bins = with_embedding(spec, config, preprocessing, train)
    model = Model(spec.build(bins).to(device), spec, preprocessing)
    return model, build_objective(config, spec.features, len(classes))


def with_embedding(
    spec: ModelSpec, config: RunConfig, preprocessing: Preprocessing, train: Records
) -> tuple[ModelSpec, list[torch.Tensor] | None]:
    """The spec with the numbers that are embedded and their bins, and the bins' edges from the rows to train on.

    Raises:
        GatewiseError: for images, convolutions, or rows without a number.
    """
    if config.numeric_embedding == "none":
        return spec, None
    if len(preprocessing.input_shape) != 1 or "conv" in (config.expert, config.gate):
        raise GatewiseError("numeric_embedding is for numbers in columns, not for images; leave it out")
    if not (numbers := preprocessing.numbers):
        raise GatewiseError(f"{train.name}: no column of numbers to embed; leave numeric_embedding out")
    bins = None
    if config.numeric_embedding == "piecewise-linear":
        rows = torch.from_numpy(preprocessing.transform(train)[:, :numbers])
        bins = quantile_bins(rows, config.numeric_bins)
    counts = [len(edges) - 1 for edges in bins or []]
    return spec.model_copy(update={"numbers": numbers, "bin_counts": counts}), bins


def continued(config: RunConfig) -> RunConfig:
    """The configuration with what the run that it starts from decides; as it is where it starts from none.

    Raises:
        GatewiseError: if there is no such run, or it does not fit the configuration.
    """
    if config.start_from is None:
        return config
    config = with_absolute_paths(config)
    return taken_over(config, Run.load(config.start_from or ""))


def _asked_for(source: Source) -> Records:
    """The rows of a file that is there to be evaluated or predicted: its test rows where it has its own."""
    return source.records if source.test is None else source.test


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """So that the configuration kept in the run folder finds its files from anywhere."""
    paths = {"data": config.data, "test": config.test}
    found = {key: str(Path(path).resolve()) for key, path in paths.items() if path and path not in BUNDLED}
    if config.start_from is not None:
        found["start_from"] = str(Path(config.start_from).resolve())
    return config.model_copy(update=found)


@contextlib.contextmanager
def _threads(threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _most_evaluations(config: RunConfig, objective: Objective) -> int:
    """At most so many experts run for a training row: the k of a top-k gate where no others are asked."""
    most = objective.evaluations(config.num_experts)
    calls = {call for estimator in objective.estimators() for call in estimator.calls}
    return min(most, config.gate_top_k) if config.gate_top_k and calls == {"index"} else most


def weights_in_words(config: RunConfig, classes: Sequence[str], y: torch.Tensor) -> dict[str, float] | None:
    """How much a row of each class counted in training; None where all count the same."""
    weights = class_weights(config.class_weight, classes, y)
    return None if weights is None else dict(zip(classes, weights.tolist(), strict=True))


def summarise(config: RunConfig, parts: Parts, prepared: Prepared, result: Fit) -> dict[str, Any]:
    """What `summary.json` holds."""
    model, objective, mixture = prepared.model, prepared.objective, prepared.model.mixture
    part, unseen = ("validation", parts.validation) if parts.test is None else ("test", parts.test)
    figures, details = judge(model, prepared.rows, part)
    return {
        "gatewise": __version__,
        "config": config.model_dump(),
        "data": {
            "name": parts.whole.name,
            "target": parts.whole.target,
            "rows": len(parts.whole),
            "train_rows": len(parts.train),
            "validation_rows": len(parts.validation),
            "test_rows": len(parts.test) if parts.test is not None else 0,
            "columns": len(parts.whole.columns or []) or model.spec.features,
            "used": model.preprocessing.used(parts.whole),
            "images": parts.whole.images,
            "classes": model.spec.classes,
            "guessed": parts.guessed,
            "hash": parts.whole.hash(),
            "test_hash": parts.test.hash() if parts.test is not None else None,
        },
        "model": {
            "head": model.spec.head,
            "experts": mixture.num_experts,
            "parameters": sum(p.numel() for p in mixture.parameters()),
            "evaluations": _most_evaluations(config, objective),
            "objective": config.objective,
            "estimator": next((estimator.name for estimator in objective.estimators()), None),
        },
        "class_weights": weights_in_words(config, model.spec.classes, prepared.rows["train"][1]),
        "best_epoch": result.best_epoch,
        "epochs": len(result.history),
        "validation": figures["validation"],
        "test": figures.get("test"),
        **details,
        "typical": typical(model, unseen, *prepared.rows[part]) if can_be_told(model, unseen) else None,
        "warnings": result.warnings,
        "reseeded": result.reseeded,
        "interrupted": result.stopped == "interrupted",
    }
