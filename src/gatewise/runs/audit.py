"""Audits of a run, and of a model before its training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gatewise import __version__
from gatewise.auditing import Audit, audit
from gatewise.config.checks import AUDITED, check_gate
from gatewise.config.objective import estimator_name, estimator_options, samples_of
from gatewise.config.run import RunConfig, choose_device
from gatewise.data import Records
from gatewise.data.streaming.records import some_of
from gatewise.errors import GatewiseError
from gatewise.files import write_json
from gatewise.reporting import write_report
from gatewise.reporting.audit import write_audit
from gatewise.reporting.reading import read_history
from gatewise.runs.callbacks import some
from gatewise.runs.data import read_parts
from gatewise.runs.prepare import prepare
from gatewise.runs.run import Run
from gatewise.schedules import as_schedule
from gatewise.training.input.datasets import HELD, held_rows


def audit_run(run: Run, *, rows: int = 512, data: str | None = None, **options: Any) -> tuple[Audit, dict[str, Any]]:
    """Audit a trained run on rows that it was trained on, or on others.

    Args:
        run: the run.
        rows: how many, drawn at random; all where there are fewer.
        data: a file to draw them from; None takes the training rows.
        options: of `gatewise.audit`.

    Returns:
        The audit, and what audit.json says of what was audited.

    Raises:
        GatewiseError: if the rows cannot be read or are not those of training, or as `gatewise.audit`.
    """
    model, config = run.model, run.config
    records = run.read(data, require_target=True) if data else _training_rows(run)
    x, y = some(model.rows(records), rows, options.get("seed", 0))
    found = audit(model.mixture, (x, y), own=own_estimator(config, _temperature(run)), **options)
    about = {"name": f"{records.name}, after epoch {run.summary['best_epoch']}", "run": str(run.folder)}
    return found, about | {"trained": True, "objective": config.objective, "data": data or config.data}


def audit_data(config: RunConfig, *, rows: int = 512, **options: Any) -> tuple[Audit, dict[str, Any]]:
    """Audit the model that a configuration describes, before its training, on training rows.

    Args:
        config: as for `train`.
        rows: as for `audit_run`.
        options: of `gatewise.audit`.

    Raises:
        GatewiseError: for a configuration or data that cannot be used, or as `gatewise.audit`.
    """
    check_gate(config)
    parts = read_parts(config)
    config = config.settled(len(parts.train))
    device = choose_device(config.device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        prepared = prepare(config, parts, device)
    own = None if config.estimator is None else own_estimator(config)
    chosen = some(held_rows(prepared.rows["train"]), rows, options.get("seed", 0))
    found = audit(prepared.model.mixture, chosen, own=own, **options)
    about = {"name": f"{parts.whole.name}, before training", "run": None, "trained": False}
    return found, about | {"objective": config.objective, "data": config.data}


def write_files(folder: Path, found: Audit, about: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Write `audit.json` and `audit.html` into `folder`, and return what the first holds.

    In the folder of a run its report is written anew, so that it shows the audit.

    Raises:
        GatewiseError: if they cannot be written.
    """
    contents = {**found.to_dict(), "gatewise": __version__, "command": command, **about}
    contents["notes"] = [*contents["notes"], *_notes(about)]
    make_audit_folder(folder)
    write_json(folder / "audit.json", contents)
    write_audit(folder, contents)
    if (folder / "summary.json").exists():
        write_report(folder)
    return contents


def make_audit_folder(folder: Path) -> None:
    """Make the folder where it is not there.

    Raises:
        GatewiseError: if it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GatewiseError(f"cannot make the folder {folder}: {error.strerror}; give another --out") from None


def own_estimator(config: RunConfig, temperature: float | None = None) -> tuple[tuple[str, dict[str, Any]], int] | None:
    """The estimator of a configuration at a temperature, None for that of the start, and its number of samples.

    None where the objective's gradient is not that of the Jensen bound, which is what is audited.
    """
    name = estimator_name(config)
    if config.objective != AUDITED or name is None:
        return None
    options = estimator_options(config)
    if "temperature" in options:
        options["temperature"] = temperature or as_schedule(options["temperature"])(0.0)
    return (name, options), samples_of(config) or 1


def _training_rows(run: Run) -> Records:
    """The rows that a run was trained on, read again."""
    parts = read_parts(run.config)
    if parts.whole.hash() != run.summary["data"]["hash"]:
        raise GatewiseError(
            f"{run.config.data} has changed since this run was trained, so its training rows cannot be found again; "
            "give rows to audit on with --data"
        )
    return some_of(parts.train, HELD)


def _temperature(run: Run) -> float | None:
    """λ in the epoch whose weights were kept, where there is one."""
    history = read_history(run.folder / "metrics.jsonl")
    return next((line.get("temperature") for line in history if line["epoch"] == run.summary["best_epoch"]), None)


def _notes(about: Mapping[str, Any]) -> list[str]:
    notes = []
    if about["objective"] != AUDITED:
        notes.append(f"The objective here is {about['objective']}; the gradient audited is that of the Jensen bound.")
    if not about["trained"]:
        notes.append(
            "The model is as it was made, before training: bias and variance change as it learns. Audit the run."
        )
    return notes
