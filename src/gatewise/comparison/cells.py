"""One cell of a comparison: a combination at a seed, its run folder, and whether that is done already."""

import contextlib
import json
import shlex
import shutil
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatewise.comparison.combinations import Combination
from gatewise.config.run import RunConfig
from gatewise.errors import GatewiseError
from gatewise.estimators.registry import ESTIMATORS
from gatewise.files import read_json, write_text
from gatewise.objectives.registry import OBJECTIVES
from gatewise.reporting.schemas.run import parse_summary
from gatewise.runs.data import Parts
from gatewise.runs.train import train
from gatewise.wording import shortened

FILES = ("config.toml", "metrics.jsonl", "report.html", "model/weights.safetensors", "model/model.json")
FIGURES = (
    "nll",
    "accuracy",
    "nll_top1",
    "accuracy_top1",
    "experts_used",
    "dead_experts",
    "effective_experts",
    "mutual_information",
)
"""The measures that are averaged over seeds, of `gatewise evaluate`."""
NO_MATTER = {"data", "test", "threads"}
"""Keys that may differ between a finished cell and the one asked for: the rows are known by their hash."""

_ONE_AT_A_TIME = threading.Lock()
"""torch's global random state and matplotlib are one a process: threads of a process train one after the other."""


@dataclass(frozen=True)
class Rows:
    """What the data are known by: the hash of all rows, and of the test rows where they were not split off."""

    whole: str
    test: str | None

    @classmethod
    def of(cls, config: RunConfig, parts: Parts) -> "Rows":
        """Of data that were read; a split makes the test rows of every seed different, so they are not looked at."""
        kept = len(parts.train) + len(parts.validation) + (len(parts.test) if parts.test is not None else 0)
        own = parts.test is not None and (config.test is not None or kept > len(parts.whole))
        return cls(parts.whole.hash(), parts.test.hash() if own and parts.test is not None else None)

    def same_as(self, data: dict[str, Any]) -> bool:
        """Whether a run's summary tells of these rows."""
        return data.get("hash") == self.whole and self.test in (None, data.get("test_hash"))


@dataclass(frozen=True)
class Cell:
    """A combination at a seed, and where its run is kept."""

    combination: Combination
    seed: int
    config: RunConfig
    path: Path

    @property
    def part(self) -> Path:
        """Where it is trained: renamed to `path` when it is whole, so that a run is there entirely or not at all."""
        return self.path.with_name(f".{self.path.name}.part")

    @property
    def errors(self) -> Path:
        """Where the traceback of a fault is kept."""
        return self.path.with_name(f"{self.path.name}.error.txt")

    def finished(self, rows: Rows) -> dict[str, Any] | None:
        """The summary of the cell's run; None where there is none, or a piece of one.

        Raises:
            GatewiseError: if the run is of another configuration or other data.
        """
        try:
            summary = read_json(self.path / "summary.json")
            parse_summary(summary, str(self.path / "summary.json"))
        except GatewiseError:
            return None
        judged = [summary["validation"], summary.get("test") or summary["validation"]]
        told = [summary.get("seconds"), *(figures.get(name) for figures in judged for name in FIGURES)]
        whole = all(type(figure) in (int, float) for figure in told)
        if summary.get("interrupted") or not whole or not all((self.path / name).is_file() for name in FILES):
            return None
        difference = "other data" if not rows.same_as(summary["data"]) else self._difference(summary["config"])
        if difference:
            raise GatewiseError(
                f"{self.path} was trained with {difference}; give another --out, or delete that folder to train it anew"
            )
        return {"test": None, **summary}

    def _difference(self, config: dict[str, Any]) -> str | None:
        """The first key that a finished run was trained with another value of."""
        asked = json.loads(self.config.model_dump_json())
        for key, value in asked.items():
            before = config.get(key, RunConfig.model_fields[key].get_default())
            if key not in NO_MATTER and before != value:
                return f"{key} {_told(before)}, not {_told(value)}"
        if (self.config.test is None) != (config.get("test") is None):
            return "test rows from elsewhere"
        return None


def _told(value: Any) -> str:
    return "unset" if value is None else shortened(repr(value))


def registered(combination: Combination) -> list[type]:
    """The classes that a worker must know: those of a third party are sent along."""
    objective, name = OBJECTIVES.named(combination.objective), combination.estimator
    estimator = [] if name is None or name in objective.own_estimators.names() else [ESTIMATORS.named(name)]
    return [objective, *estimator]


def train_cell(cell: Cell, classes: Sequence[type]) -> str | None:
    """Train a cell, in whatever process this is. Returns the reason for which it failed, on one line, or None."""
    objective, *estimator = classes
    OBJECTIVES.register(objective)
    for each in estimator:
        ESTIMATORS.register(each)
    command = f"gatewise train --config {shlex.quote(str(cell.path / 'config.toml'))}"
    with _ONE_AT_A_TIME:
        try:
            shutil.rmtree(cell.part, ignore_errors=True)
            cell.part.mkdir(parents=True)
            train(cell.config, cell.part, command=command)
            shutil.rmtree(cell.path, ignore_errors=True)
            cell.part.rename(cell.path)
            cell.errors.unlink(missing_ok=True)
        except GatewiseError as error:
            return " ".join(str(error).split())
        except Exception as error:
            with contextlib.suppress(GatewiseError):
                write_text(cell.errors, traceback.format_exc())
            return f"{brief(error)} (traceback: cells/{cell.errors.name})"
        finally:
            shutil.rmtree(cell.part, ignore_errors=True)
    return None


def brief(error: BaseException) -> str:
    """An error's kind and its first line."""
    first = next(iter(str(error).strip().splitlines()), "")
    return shortened(f"{type(error).__name__}: {first}" if first else type(error).__name__, 300)
