"""Callbacks of a run: its metrics file, and the audit along training."""

import contextlib
import json
from pathlib import Path
from typing import Any, TextIO

import torch

from gatewise.auditing import audit
from gatewise.auditing.statistics import FEWEST
from gatewise.config.objective import samples_of
from gatewise.config.run import RunConfig
from gatewise.errors import GatewiseError
from gatewise.files import write_text
from gatewise.mixture import MixtureOfExperts
from gatewise.objectives import Objective
from gatewise.runs.prepare import Prepared
from gatewise.training.callbacks import Callback, TensorBoard
from gatewise.training.input.batching import Rows
from gatewise.training.input.datasets import held_rows

AUDIT_ROWS = 256
"""Rows that an audit along training looks at."""
NUMBERS = 2**20
"""Of the gradients that are measured in one audit, together: a fixed number and not a fixed time, so that it finds the
same wherever training was interrupted, whatever else the machine did."""
MOST = 1024
"""Repetitions, at most."""


class AuditAlong(Callback):
    """Audits the objective's own estimator every few epochs, with what its baselines have learned: `audits.jsonl`.

    It draws from generators of its own and looks at copies, so training goes the way it would without it.

    Args:
        path: the file.
        every: epochs between audits.
        mixture: in training.
        objective: with its estimator.
        num_samples: S.
        rows: training rows; some of them are looked at.
        seed: of the rows and the noise.

    Raises:
        GatewiseError: if the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        every: int,
        mixture: MixtureOfExperts,
        objective: Objective,
        num_samples: int,
        rows: Rows,
        seed: int,
    ):
        self.path, self.every, self.mixture, self.objective = path, every, mixture, objective
        self.lines: list[dict[str, Any]] = []
        self.num_samples, self.rows, self.seed = num_samples, some(rows, AUDIT_ROWS, seed), seed
        wanted = NUMBERS // (len(self.rows[0]) * mixture.num_experts)
        self.repetitions = min(max(wanted, FEWEST), MOST)

    def state_dict(self) -> dict[str, Any]:
        """The lines so far: of the epochs in the history."""
        return {"lines": self.lines}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up such lines.

        Raises:
            ValueError: if they are none.
        """
        lines = state.get("lines", [])
        if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
            raise ValueError("its audits are no lines")
        self.lines = lines

    def on_restart(self, history: list[dict[str, Any]]) -> None:
        """Hold the lines of the epochs that are behind, and no others."""
        if self.path.exists() or self.lines:
            write_text(self.path, "".join(json.dumps(line) + "\n" for line in self.lines))

    def on_choice(self, start: int, history: list[dict[str, Any]], said: str) -> None:
        """Hold the lines of the start that goes on."""
        self.lines = [{name: value for name, value in line.items() if name != "start"} for line in self.lines]
        self.on_restart(history)

    def on_start(self, epochs: int, steps_per_epoch: int) -> None:
        """Remember which epoch is the last."""
        self.epochs = epochs

    def on_epoch(self, metrics: dict[str, Any]) -> None:
        """Append a line after the first and the last epoch, and after every `every`-th."""
        if metrics["epoch"] % self.every and metrics["epoch"] not in (1, self.epochs):
            return
        (estimator,) = self.objective.estimators()
        try:
            found = audit(
                self.mixture,
                self.rows,
                [],
                own=(estimator, self.num_samples),
                seconds=1.0,  # for the clock alone: repetitions do not hang on it
                repetitions=self.repetitions,
                seed=self.seed,
            )
            line = {"rows": [row.to_dict() for row in found.rows]}
        except GatewiseError as problem:  # a gate that is certain has no gradient to audit: training goes on
            line = {"rows": [], "reason": str(problem)}
        self.lines.append(
            {name: metrics[name] for name in ("start", "epoch", "step", "temperature") if name in metrics} | line
        )
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self.lines[-1]) + "\n")
        except OSError as error:
            raise GatewiseError(f"cannot write {self.path}: {error.strerror}") from None


def some(rows: Rows, count: int, seed: int) -> Rows:
    """`count` of the rows, drawn by `seed`; all where there are fewer.

    Raises:
        GatewiseError: for a count below 1.
    """
    if count < 1:
        raise GatewiseError(f"rows must be at least 1, got {count}")
    x, y = rows
    chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:count].sort().values
    return x[chosen], y[chosen]


class MetricsFile(Callback):
    """Appends a line after each epoch; a context manager that closes the file.

    Args:
        path: the file.

    Raises:
        GatewiseError: if the file cannot be written.
    """

    def __init__(self, path: Path):
        self.path = path
        self.file = self._holding([])

    def __enter__(self) -> "MetricsFile":
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()

    def on_choice(self, start: int, history: list[dict[str, Any]], said: str) -> None:
        """Hold the lines of the start that goes on."""
        self.on_restart(history)

    def on_restart(self, history: list[dict[str, Any]]) -> None:
        """Hold the lines of `history`, and no others."""
        self.file.close()
        self.file = self._holding(history)

    def _holding(self, history: list[dict[str, Any]]) -> TextIO:
        """The file with these lines in it, open for more."""
        write_text(self.path, "".join(json.dumps(metrics) + "\n" for metrics in history))
        try:
            return self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise GatewiseError(f"cannot write {self.path}: {error.strerror}") from None

    def on_epoch(self, metrics: dict[str, Any]) -> None:
        """Write the epoch's line and flush it."""
        try:
            self.file.write(json.dumps(metrics) + "\n")
            self.file.flush()
        except OSError as error:
            raise GatewiseError(f"cannot write {self.path}: {error.strerror}") from None


def run_callbacks(config: RunConfig, folder: Path, prepared: Prepared, files: contextlib.ExitStack) -> list[Callback]:
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
