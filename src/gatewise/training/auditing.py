"""Audits of a run, and of a model before its training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gatewise import __version__
from gatewise.diagnostics import Audit, audit
from gatewise.errors import GatewiseError
from gatewise.files import write_json
from gatewise.reporting.audit import write_audit
from gatewise.schedules import as_schedule
from gatewise.training.audit_along import AUDITED, some
from gatewise.training.config import RunConfig
from gatewise.training.model import choose_device, estimator_name, estimator_options, samples_of
from gatewise.training.run import Run, prepare, read_parts


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
        GatewiseError: if the rows cannot be read, or as `gatewise.audit`.
    """
    model, config = run.model, run.config
    records = run.read(data, require_target=True) if data else read_parts(config).train
    x, y = some(model.rows(records), rows, options.get("seed", 0))
    found = audit(model.mixture, (x, y), own=own_estimator(config, progress=1.0), **options)
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
    parts = read_parts(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        prepared = prepare(config, parts, choose_device(config.device))
    own = None if config.estimator is None else own_estimator(config, progress=0.0)
    chosen = some(prepared.rows["train"], rows, options.get("seed", 0))
    found = audit(prepared.model.mixture, chosen, own=own, **options)
    about = {"name": f"{parts.whole.name}, before training", "run": None, "trained": False}
    return found, about | {"objective": config.objective, "data": config.data}


def write_files(folder: Path, found: Audit, about: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Write `audit.json` and `audit.html` into `folder`, and return what the first holds.

    Raises:
        GatewiseError: if they cannot be written.
    """
    contents = {**found.to_dict(), "gatewise": __version__, "command": command, **about}
    contents["notes"] = [*contents["notes"], *_notes(about)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GatewiseError(f"cannot make the folder {folder}: {error.strerror}; give another --out") from None
    write_json(folder / "audit.json", contents)
    write_audit(folder, contents)
    return contents


def own_estimator(config: RunConfig, progress: float) -> tuple[tuple[str, dict[str, Any]], int] | None:
    """The estimator of a configuration as it is at `progress` of training, and its samples.

    None where the objective's gradient is not that of the Jensen bound, which is what is audited.
    """
    name = estimator_name(config)
    if config.objective != AUDITED or name is None:
        return None
    options = estimator_options(config)
    if "temperature" in options:
        options["temperature"] = as_schedule(options["temperature"])(progress)
    return (name, options), samples_of(config) or 1


def _notes(about: Mapping[str, Any]) -> list[str]:
    notes = []
    if about["objective"] != AUDITED:
        notes.append(f"The objective here is {about['objective']}; the gradient audited is that of the Jensen bound.")
    if not about["trained"]:
        notes.append(
            "The model is as it was made, before training: bias and variance change as it learns. Audit the run."
        )
    return notes
