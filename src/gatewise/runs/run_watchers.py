"""What writes into a run folder while it trains."""

import contextlib
from pathlib import Path

from gatewise.config.objective import samples_of
from gatewise.config.run import RunConfig
from gatewise.runs.callbacks import AuditAlong
from gatewise.runs.metrics_file import MetricsFile
from gatewise.runs.prepare import Prepared
from gatewise.training.callbacks import Callback
from gatewise.training.row_stream import held_rows
from gatewise.training.tensorboard import TensorBoard


def run_watchers(config: RunConfig, folder: Path, prepared: Prepared, files: contextlib.ExitStack) -> list[Callback]:
    """What a training of this configuration is watched by, with its files open until `files` is closed."""
    audits = _audits(config, folder, prepared)
    metrics = files.enter_context(MetricsFile(folder / "metrics.jsonl"))
    return [metrics, *audits, *_events(config, folder)]


def _audits(config: RunConfig, folder: Path, prepared: Prepared) -> list[AuditAlong]:
    """The audit along training, where it is wanted."""
    if not config.audit_every:
        return []
    model, rows = prepared.model.mixture, held_rows(prepared.rows["train"])
    path = folder / "audits.jsonl"
    draws = samples_of(config) or 1
    return [AuditAlong(path, config.audit_every, model, prepared.objective, draws, rows, config.seed)]


def _events(config: RunConfig, folder: Path) -> list[TensorBoard]:
    """What writes event files, where they are wanted."""
    if not config.tensorboard:
        return []
    return [TensorBoard(folder / "tensorboard", config.to_toml())]
