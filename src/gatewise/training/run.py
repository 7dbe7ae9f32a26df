"""A run: from the configuration to a folder with a trained model, and back."""

import shlex
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from gatewise import __version__
from gatewise.data import Classes, Records, fit_preprocessing, read, split
from gatewise.diagnostics import Evaluation, Tally, evaluate
from gatewise.errors import GatewiseError
from gatewise.files import read_json, write_json, write_text
from gatewise.objectives import Objective, regularisers
from gatewise.reporting import write_report
from gatewise.training.callbacks import Callback
from gatewise.training.config import LoopConfig, RunConfig, load_config, read_toml
from gatewise.training.folder import Model, environment
from gatewise.training.loop import Fit, fit
from gatewise.training.metrics_file import MetricsFile
from gatewise.training.model import ModelSpec, build_objective, choose_device


@dataclass(frozen=True)
class Parts:
    """The rows of a run, apart; test is None where none were kept."""

    train: Records
    validation: Records
    test: Records | None
    whole: Records


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
        config = load_config(read_toml(folder / "config.toml"), str(folder / "config.toml"))
        return cls(folder, config, Model.load(folder / "model", choose_device(device)), summary)

    def read(self, source: str, *, require_target: bool) -> Records:
        """Rows of a file in the form this run was trained on."""
        config = self.config
        target = config.target
        return read(source, target, missing=config.missing, require_target=require_target).records

    def test_rows(self) -> Records:
        """The test rows that were kept at training, read again.

        Raises:
            GatewiseError: if none were kept, or the data have changed since.
        """
        parts = read_parts(self.config)
        if parts.whole.hash() != self.summary["data"]["hash"]:
            raise GatewiseError(
                f"{self.config.data} has changed since this run was trained, so its test rows cannot be found again; "
                "give the rows to evaluate as DATA"
            )
        if parts.test is None:
            raise GatewiseError("this run kept no test rows (test_size was 0); give the rows to evaluate as DATA")
        return parts.test

    def evaluate(self, records: Records) -> Evaluation:
        """The figures of the model on rows with labels.

        Raises:
            GatewiseError: if there are no labels, or one was not seen in training.
        """
        return tally(self.model, records).result()


def tally(model: Model, records: Records) -> Tally:
    """Run a model over rows with labels."""
    x, y = model.rows(records)
    return evaluate(model.mixture, x, y, len(model.spec.classes))


def read_parts(config: RunConfig) -> Parts:
    """Read the data of a run and split them as its seed says.

    Raises:
        GatewiseError: for data that cannot be read or split.
    """
    source = read(config.data, config.target, missing=config.missing)
    rows, test = source.records, source.test
    if config.test is not None:
        test = read(config.test, config.target, missing=config.missing).records
    labels = rows.known_labels()
    Classes.from_labels(labels, rows.name)
    size = 0.0 if test is not None else config.test_size
    kept = split(labels, test_size=size, validation_size=config.validation_size, seed=config.seed)
    if test is None and len(kept.test):
        test = rows.take(kept.test)
    return Parts(rows.take(kept.train), rows.take(kept.validation), test, rows)


def train(
    config: RunConfig,
    out: str | Path,
    *,
    callbacks: Iterable[Callback] = (),
    should_stop: Callable[[], bool] = lambda: False,
    command: str | None = None,
) -> Run:
    """Train a mixture on data and write the run folder `out`.

    The same configuration gives the same weights on the same machine and number of threads; torch's global random
    state is left as it was.

    Args:
        config: see `RunConfig`.
        out: a folder that does not exist yet, or is empty.
        callbacks: see `Callback`.
        should_stop: asked after every step; true ends training, and the best weights so far are kept.
        command: how to repeat this, for the report; None names the configuration file.

    Raises:
        GatewiseError: for a configuration or data that cannot be used; nothing is written then.
    """
    started = time.perf_counter()
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise GatewiseError(f"{folder} is there already; give another folder with --out, or remove it")
    device = choose_device(config.device)
    if config.threads:
        torch.set_num_threads(config.threads)
    parts = read_parts(config)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        model, objective = _build(config, parts, device)
        penalties = regularisers(config.regulariser)
        data = {part: model.rows(rows) for part, rows in (("train", parts.train), ("validation", parts.validation))}
        if parts.test is not None:
            model.rows(parts.test)  # a test file that does not fit is refused before training, not after
        _make_folder(folder)
        write_text(folder / "config.toml", config.to_toml())
        write_json(folder / "environment.json", environment())
        with MetricsFile(folder / "metrics.jsonl") as metrics:
            result = fit(
                model.mixture,
                objective,
                data["train"],
                data["validation"],
                LoopConfig(**{name: getattr(config, name) for name in LoopConfig.model_fields}),
                regularisers=penalties,
                num_classes=len(model.spec.classes),
                callbacks=[metrics, *callbacks],
                should_stop=should_stop,
            )
    model.save(folder / "model")
    summary = summarise(config, parts, model, objective, result)
    summary |= {"command": command or f"gatewise train --config {shlex.quote(str(folder / 'config.toml'))}"}
    summary |= {"seconds": time.perf_counter() - started}
    write_json(folder / "summary.json", summary)
    write_report(folder)
    return Run(folder, config, model, summary)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GatewiseError(f"cannot make the run folder {folder}: {error.strerror}; give another --out") from None


def _build(config: RunConfig, parts: Parts, device: torch.device) -> tuple[Model, Objective]:
    preprocessing = fit_preprocessing(parts.train, numeric=config.numeric)
    classes = Classes.from_labels(parts.whole.known_labels(), parts.whole.name)
    spec = ModelSpec.from_config(config, preprocessing.input_shape, classes.names)
    return Model(spec.build().to(device), spec, preprocessing), build_objective(config, spec.features)


def summarise(config: RunConfig, parts: Parts, model: Model, objective: Objective, result: Fit) -> dict[str, Any]:
    """What `summary.json` holds."""
    validation = tally(model, parts.validation)
    test = tally(model, parts.test) if parts.test is not None else None
    mixture = model.mixture
    return {
        "gatewise": __version__,
        "config": config.model_dump(),
        "data": {
            "name": parts.whole.name,
            "rows": len(parts.whole),
            "train_rows": len(parts.train),
            "validation_rows": len(parts.validation),
            "test_rows": len(parts.test) if parts.test is not None else 0,
            "columns": len(parts.whole.columns or []) or model.spec.features,
            "classes": model.spec.classes,
            "hash": parts.whole.hash(),
        },
        "model": {
            "experts": mixture.num_experts,
            "parameters": sum(p.numel() for p in mixture.parameters()),
            "evaluations": objective.evaluations(mixture.num_experts),
            "objective": config.objective,
            "estimator": next((estimator.name for estimator in objective.estimators()), None),
        },
        "best_epoch": result.best_epoch,
        "epochs": len(result.history),
        "validation": validation.result().to_dict(),
        "test": test.result().to_dict() if test else None,
        "details": asdict((test or validation).details()),
        "warnings": result.warnings,
        "interrupted": result.stopped == "interrupted",
    }
