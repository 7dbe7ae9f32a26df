"""`compare`: from a configuration and names to a folder of runs, a table and a page."""

import contextlib
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gatewise import __version__
from gatewise.comparison.cells import Cell, Rows
from gatewise.comparison.combinations import Combination, check, combine
from gatewise.comparison.parallel import train_cells
from gatewise.comparison.summary import CONFIDENCE, Outcome, tabulate
from gatewise.config.checks import check_gate
from gatewise.config.run import MAKE_ONE, RunConfig, choose_device
from gatewise.config.template import written
from gatewise.data.missing_values import MISSING_NUMBERS
from gatewise.errors import GatewiseError, check_interval, check_kind
from gatewise.files import LOCK, as_path, held, named_after, write_json
from gatewise.models.task import KINDS
from gatewise.objectives import regularisers
from gatewise.reporting.comparison import write_comparison
from gatewise.runs.data import Parts, read_parts, refuse_streamed, with_absolute_paths
from gatewise.runs.prepare import continued, prepare


@dataclass(frozen=True)
class Comparison:
    """A folder with the cells, `comparison.json` and `comparison.html`; `summary` is what is in the JSON."""

    folder: Path
    summary: dict[str, Any]

    @property
    def failed(self) -> list[dict[str, Any]]:
        """The cells that failed."""
        return [cell for cell in self.summary["cells"] if cell["status"] == "failed"]


class Watcher:
    """What can watch a comparison; each hook does nothing unless a subclass writes it."""

    def on_start(self, total: int, done: int) -> None:
        """Before anything is trained: how many cells there are, and how many of them were done already."""

    def on_cell(self, outcome: Outcome) -> None:
        """After each cell that was trained or failed."""


def compare(
    base: RunConfig,
    out: str | Path | None = None,
    *,
    estimators: Sequence[str] | None = None,
    objectives: Sequence[str] = ("jensen",),
    seeds: int = 3,
    jobs: int | None = None,
    watcher: Watcher | None = None,
    command: str | None = None,
) -> Comparison:
    """Train every combination of objective, estimator and seed on the same data, and compare them.

    A cell of `out`/cells that is finished, of the same configuration and the same rows, is not trained again; one that
    was left in the middle is. Where a finished cell is of another configuration or other rows, everything is refused
    and nothing is deleted. A cell that fails is told of in the summary, and the others go on.

    Each cell runs on one thread unless `base.threads` says otherwise, so that its numbers do not depend on `jobs`. The
    cells go to joblib's backend: inside `with joblib.parallel_config(backend=…)` to one of yours, whose workers must
    see the folder `out`. Threads of one process train one cell at a time.

    Args:
        base: what all cells share. Its objective and estimator are not looked at; its seed is the first one.
        out: the folder; None takes `default_folder(base.data)`.
        estimators: names, with options after colons (see `gatewise.comparison.combinations`); None takes three.
        objectives: names; one that takes no estimator makes one cell a seed.
        seeds: how many.
        jobs: joblib's n_jobs; None leaves it to `joblib.parallel_config`, and is 1 outside of one.
        watcher: see `Watcher`.
        command: how to repeat this, for the page; None makes a command line that does.

    Raises:
        GatewiseError: before anything is trained, for data or a combination that cannot work, or a folder in use.
    """
    started = time.perf_counter()
    check_kind(base, RunConfig, "base", MAKE_ONE)
    out = None if out is None else as_path(out, "out")
    check_interval(
        seeds, "[1, inf)", "seeds", "say how many there are; the first is the configuration's seed", whole=True
    )
    if jobs is not None:
        check_interval(jobs, "(-inf, inf)", "jobs", "say how many cells are trained at once", whole=True)
    if watcher is not None:
        check_kind(watcher, Watcher, "watcher", "make a class of gw.comparison.Watcher")
    if jobs == 0:
        raise GatewiseError("jobs must be at least 1, or -1 for one on each core")
    if base.seed + seeds > 2**32:
        raise GatewiseError(f"{seeds} seeds from {base.seed} on go beyond {2**32 - 1}; begin with a smaller seed")
    base = continued(base).model_copy(update={"threads": base.threads or 1})
    _check_names(base, combine(base, estimators, objectives))
    refuse_streamed(base, "compare")
    parts = read_parts(base)
    if parts.head in KINDS:
        raise GatewiseError(
            f"compare judges by accuracy, and the target is {KINDS[parts.head].name} (head {parts.head}); train runs "
            "and give them to gatewise report, or give one target of classes (--set head=categorical)"
        )
    base = base.settled(len(parts.train)).model_copy(update={"head": parts.head})
    rows = _checked(base, combine(base, estimators, objectives), parts)
    base = with_absolute_paths(base)
    combinations = combine(base, estimators, objectives)
    folder = out or default_folder(base.data)
    watcher = watcher or Watcher()
    with _held(folder):
        cells = _cells(folder.resolve(), combinations, range(base.seed, base.seed + seeds))
        outcomes = {cell.path: Outcome(cell, cell.finished(rows), before=True) for cell in cells}
        missing = [cell for cell in cells if outcomes[cell.path].summary is None]
        watcher.on_start(len(cells), len(cells) - len(missing))

        def on_done(cell: Cell, reason: str | None) -> None:
            outcomes[cell.path] = _outcome(cell, reason, rows)
            watcher.on_cell(outcomes[cell.path])

        train_cells(missing, jobs, on_done)
        summary = {
            "gatewise": __version__,
            "command": command or _command(base, combinations, folder, seeds),
            "seeds": [base.seed + offset for offset in range(seeds)],
            "confidence": CONFIDENCE,
            "threads": base.threads,
            "config": base.model_dump(exclude={"objective", "estimator", "seed", "threads"}),
            **tabulate(combinations, list(outcomes.values())),
            "seconds": time.perf_counter() - started,
        }
        write_json(folder / "comparison.json", summary)
        write_comparison(folder)
    return Comparison(folder, summary)


def default_folder(data: str) -> Path:
    """runs/compare-NAME: always the same, so that the same command goes on where it was stopped."""
    return Path("runs") / f"compare-{named_after(data, 'data')}"


def _check_names(base: RunConfig, combinations: Sequence[Combination]) -> None:
    """What can be refused before the data are read."""
    check(combinations, features=1)
    check_gate(base)
    regularisers(base.regulariser, expert_prior=base.expert_prior)
    choose_device(base.device)


def _checked(base: RunConfig, combinations: Sequence[Combination], parts: Parts) -> Rows:
    """What can be refused before training: the model for the data."""
    check_gate(base)
    device = choose_device(base.device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        features = prepare(combinations[0].config, parts, device).model.spec.features
    check(combinations, features)
    return Rows.of(base, parts)


def _cells(folder: Path, combinations: Sequence[Combination], seeds: Sequence[int]) -> list[Cell]:
    """Seed by seed, so that whatever is finished early can be compared."""
    return [
        Cell(
            combination,
            seed,
            combination.config.model_copy(update={"seed": seed}),
            folder / "cells" / f"{combination.folder}-seed{seed}",
        )
        for seed in seeds
        for combination in combinations
    ]


def _outcome(cell: Cell, reason: str | None, rows: Rows) -> Outcome:
    if reason is not None:
        return Outcome(cell, None, reason)
    try:
        summary = cell.finished(rows)
    except GatewiseError:
        return Outcome(cell, None, "the data changed while it was trained")
    if summary is None:
        return Outcome(cell, None, f"its run folder {cell.path} is not there; let every worker see it")
    return Outcome(cell, summary)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Make the folder, and keep a second comparison out of it; the system lets go when this process ends."""
    if folder.is_dir() and any(folder.iterdir()) and not any((folder / n).exists() for n in ("cells", LOCK)):
        raise GatewiseError(f"{folder} is there already and is no comparison; give another folder with --out")
    try:
        (folder / "cells").mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise GatewiseError(f"{folder} is a file; give a folder with --out") from None
    except OSError as error:
        raise GatewiseError(f"cannot write into {folder}: {error.strerror}; give another --out") from None
    with held(folder, f"another comparison is at work in {folder}; wait, or give another --out"):
        yield


def _command(base: RunConfig, combinations: Sequence[Combination], folder: Path, seeds: int) -> str:
    """A command line that does the same."""
    objectives = dict.fromkeys(combination.objective for combination in combinations)
    estimators = dict.fromkeys(combination.text for combination in combinations if combination.text)
    words = ["gatewise", "compare", base.data, "--objectives", ",".join(objectives)]
    words += ["--estimators", ",".join(estimators)] if estimators else []
    words += ["--seeds", str(seeds), "--out", str(folder)]
    for key, value in base.model_dump(exclude={"data", "objective", "estimator"}, exclude_none=True).items():
        default = RunConfig.model_fields[key].get_default(call_default_factory=True)
        if value not in (default, {"threads": 1, "missing_numbers": [*MISSING_NUMBERS]}.get(key, default)):
            words += ["--set", f"{key}={written(value)}"]
    return shlex.join(words)
