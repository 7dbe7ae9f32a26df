"""Trainings interrupted after every one of their steps, or ended without a word, and resumed: the same files.

    python -m tests.faults.interruptions

Each case is trained once without a break, and once for every step with a break after it, in the same folder under a
clock that stands still. What is then in the folder is compared as a whole: every line of `metrics.jsonl` and
`audits.jsonl`, the summary, the report and the model. With --ended the training is not asked to stop: it is gone, as
after SIGKILL, so many steps after its last checkpoint, or in the middle of an epoch's report to its watchers.
"""

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from gatewise.config import RunConfig
from gatewise.runs import resume, train
from gatewise.training import Callback
from gatewise.training.resume import Saver
from gatewise.training.step import TrainStep

from .kills import members, timeless

FEW: dict[str, Any] = {"data": "wine", "experts": 3, "batch_size": 64, "threads": 1, "patience": 0, "epochs": 5}
FEW |= {"expert_hidden": [4], "starts": 1}
WARM = {"warm_start": "kmeans", "warm_start_epochs": 1, "reseed_after": 1}
CASES: dict[str, dict[str, Any]] = {
    "everything": {
        **WARM,
        "estimator": "gumbel-softmax",
        "starts": 3,
        "audit_every": 2,
        "regulariser": {"load": "linear:0.3:0", "importance": 0.1},
        "balance_rate": 0.05,
    },
    "a running mean": {"estimator": "score-function", "audit_every": 1, "accumulate": 2},
    "a learned baseline": {"estimator": "score-function", "baseline": "learned", "audit_every": 1},
    "rebar": {"estimator": "rebar", "audit_every": 1},
    "relax": {"estimator": "relax", "audit_every": 1},
    "straight through": {"estimator": "straight-through-gumbel-softmax", "audit_every": 3, "patience": 1},
    "out of patience": {"estimator": "gumbel-softmax", "patience": 1, "lr": 0.3, "epochs": 12, "audit_every": 1},
    "a batch passed over": {"skip_nonfinite": 1, "estimator": "gumbel-softmax"},
    "hard em": {"objective": "hard-em", "starts": 2},
    "evidence": {"objective": "evidence", "objective_options": {"posterior": "amortised"}},
    "multi-sample": {"objective": "multi-sample", "samples": 2},
    "noisy top-k": {"gate_top_k": 2, "audit_every": 1, "gate_temperature": 2},
    "numbers": {"numeric_embedding": "periodic", "class_weight": "balanced", "tensorboard": True, "starts": 2},
}


class Gone(BaseException):
    """The process is no more."""


class Ending(Callback):
    """Ends a training after a step, or while an epoch's watchers are told."""

    def __init__(self, step: int, in_epoch: bool):
        self.left, self.in_epoch = step, in_epoch

    def on_step(self, step: int) -> None:
        self.left -= 1
        if not self.left and not self.in_epoch:
            raise Gone

    def on_epoch(self, metrics: dict[str, Any]) -> None:
        if self.left <= 0:
            raise Gone


@contextlib.contextmanager
def staged() -> Iterator[None]:
    """Every time that a training writes is 0, so that pages can be compared; and a loss is NaN, where it may be."""
    backward = TrainStep._backward

    def once_not_finite(train_step: TrainStep, pieces: Any) -> Any:
        seen, gates = backward(train_step, pieces)
        bad = train_step.config.skip_nonfinite and train_step.step == 3 and not train_step.passed_over
        return (seen * float("nan") if bad else seen), gates

    with (
        mock.patch.object(TrainStep, "_backward", once_not_finite),
        mock.patch("gatewise.training.loop.time.perf_counter", return_value=0.0),
        mock.patch("gatewise.runs.train.time.perf_counter", return_value=0.0),
    ):
        yield


@contextlib.contextmanager
def no_pictures() -> Iterator[None]:
    """Pages without what takes longest: pictures of numbers that are compared as they are."""
    empty = '<svg xmlns="http://www.w3.org/2000/svg" width="1pt" height="1pt" viewBox="0 0 1 1"/>'
    with mock.patch("matplotlib.figure.Figure.savefig", lambda figure, file, **_: file.write(empty)):
        yield


def contents(run: Path) -> dict[str, Any]:
    """All files of a run by name; of event files, which are named by the clock, how many kinds there are."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        name = str(path.relative_to(run))
        if path.suffix == ".skops":
            found[name] = members(path)
        elif path.suffix == ".jsonl":
            found[name] = [timeless(json.loads(line)) for line in path.read_text().splitlines()]
        elif path.suffix == ".json":
            found[name] = timeless(json.loads(path.read_text()))
        elif path.parent.name == "tensorboard":
            found["tensorboard"] = True
        else:
            found[name] = path.read_bytes()
    return found


def after(step: int) -> Callable[[], bool]:
    """Asks to stop when it has been asked so many times."""
    calls = iter(range(1, 10_000))
    return lambda: next(calls) == step


def differing(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """The files that are not the same."""
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))


def whole(config: RunConfig, run: Path) -> tuple[dict[str, Any], int]:
    """What a training without a break leaves, and its steps; the folder is free again."""
    steps: list[None] = []
    train(config, run, command="as it was", should_stop=lambda: bool(steps.append(None)))
    found = contents(run)
    shutil.rmtree(run)
    return found, len(steps)


def interrupted(config: RunConfig, run: Path, step: int) -> dict[str, Any]:
    """What a training leaves that was asked to stop after a step, and then resumed; the folder is free again."""
    with mock.patch("gatewise.runs.folder.write_report"):
        cut = train(config, run, command="as it was", should_stop=after(step))
    assert cut.summary["interrupted"]
    resume(run)
    found = contents(run)
    shutil.rmtree(run)
    return found


def ended(config: RunConfig, run: Path, step: int, since: int, in_epoch: bool) -> dict[str, Any]:
    """As `interrupted`, of one that was gone after a step whose last checkpoint is so many steps older."""
    taken = iter(range(1, 10_000))
    save = Saver.__call__

    def saved(saver: Saver, now: bool = False, diverged: bool = False) -> Path | None:
        return save(saver, now=now or next(taken) == step - since, diverged=diverged)

    with mock.patch.object(Saver, "__call__", saved), contextlib.suppress(Gone):
        train(config, run, command="as it was", callbacks=[Ending(step, in_epoch)])
        raise AssertionError("it was not ended")
    resume(run)
    found = contents(run)
    shutil.rmtree(run)
    return found


def tried(config: RunConfig, run: Path, steps: int, gone: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every break, and what comes of it."""
    for step in range(1, steps + 1):
        if not gone:
            yield f"step {step}", interrupted(config, run, step)
            continue
        for since, in_epoch in ((0, False), (1, False), (3, False), (1, True)):
            where = ", in the epoch's report" if in_epoch else ""
            yield f"step {step}, {since} after a checkpoint{where}", ended(config, run, step, since, in_epoch)


def main() -> None:
    """Print a line a case; exit 1 where a file was not the same."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ended", action="store_true")
    parser.add_argument("--case", choices=CASES, action="append")
    chosen = parser.parse_args()
    wrong = 0
    for case in chosen.case or CASES:
        config, folder = RunConfig(**{**FEW, **CASES[case]}), Path(tempfile.mkdtemp(prefix="interruptions-"))
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.enter_context(staged())
            expected, steps = whole(config, folder / "run")
            breaks = 0
            for where, found in tried(config, folder / "run", steps, chosen.ended):
                breaks += 1
                if other := differing(found, expected):
                    wrong += 1
                    print(f"{case}, {where}: {', '.join(other)}", flush=True)
        print(f"{case}: {breaks} breaks in {steps} steps", flush=True)
    print(f"{wrong} came out otherwise")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
