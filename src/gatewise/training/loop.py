"""The training loop: mini-batches, validation, early stopping, the best weights kept."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gatewise.config.run import LoopConfig
from gatewise.distributed import ALONE, Group, micro_batches
from gatewise.errors import GatewiseError
from gatewise.mixture import MixtureOfExperts
from gatewise.objectives import Objective, Regulariser
from gatewise.training.callbacks import Callback, named
from gatewise.training.collapse.monitor import CollapseMonitor
from gatewise.training.collapse.reseeding import Reseeding, in_words
from gatewise.training.collapse.warm_start import warm_start
from gatewise.training.input.batching import Rows, batch_sizes, default_batch_size, default_epochs, default_patience
from gatewise.training.input.datasets import RowStream, count_of, held_rows
from gatewise.training.nonfinite import advice, trace
from gatewise.training.seeding import seeds
from gatewise.training.stateful import forms, part, prefixed
from gatewise.training.step import NonFiniteBatch, TrainStep
from gatewise.training.validation import figures_of


@dataclass
class Fit:
    """What came of a training. The mixture itself holds the best weights.

    Attributes:
        history: one dictionary an epoch, the lines of `metrics.jsonl`.
        best_epoch: the epoch of the lowest validation NLL, whose weights were kept; from 1. The last one where there
            were no validation rows.
        warnings: what was said about the gate and the experts.
        restarts: the validation NLL of each start after its share of the epochs, where there were several
            (`config.starts`); the lowest went on.
        reseeded: {"epoch", "expert", "donor"} of each dead expert that started again (`reseed_after`).
        seconds: wall time, with that of the process before, where training went on.
        seconds_before: of those, what the process before had taken.
        stopped: why training ended before its last epoch ("early" or "interrupted"), or None.
    """

    history: list[dict[str, Any]] = field(default_factory=list, repr=False)
    best_epoch: int = 0
    warnings: list[str] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)
    reseeded: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    seconds_before: float = 0.0
    stopped: str | None = None


def save_nothing(now: bool = False, diverged: bool = False) -> Path | None:
    """A `save` of a training that keeps no checkpoints."""


class Trainer:
    """One training: its epochs, each with its steps, its validation and what follows from that.

    Attributes:
        save: is called after every step, and writes a checkpoint where it is time, or `now`; also of a training that
            `diverged`, where there is something to keep. Returns the folder that it wrote to, in the latter case.
        start: which of several starts it is in, from 1; None where there are none to choose from.
    """

    def __init__(
        self,
        mixture: MixtureOfExperts,
        objective: Objective,
        rows: tuple[Rows | RowStream, Rows | RowStream | None, tuple[Tensor | None, Tensor | None]],
        config: LoopConfig,
        regularisers: Sequence[Regulariser],
        num_classes: int | None,
        callbacks: list[Callback],
        should_stop: Callable[[], bool],
        group: Group = ALONE,
    ):
        device = next(mixture.parameters()).device
        self.mixture, self.objective, self.config = mixture, objective.to(device), config
        train, validation, weights = rows
        self.train = on_device(train, device)
        self.validation = None if validation is None else on_device(validation, device)
        self.weight, self.validation_weight = (None if w is None else w.to(device) for w in weights)
        self.num_classes = num_classes or most_classes(self.train, self.validation)
        self.callbacks, self.should_stop, self.group = callbacks, should_stop, group
        count = count_of(self.train)
        self.batch_size = min(config.batch_size or default_batch_size(count), count)
        self.batch_sizes = batch_sizes(count, self.batch_size)
        for size in {*self.batch_sizes}:
            micro_batches(size, config.accumulate, group)  # refuses what leaves a process without a row
        self.steps_per_epoch = len(self.batch_sizes)
        self.epochs = config.epochs or default_epochs(self.steps_per_epoch)
        self.patience = default_patience(self.epochs) if config.patience is None else config.patience
        steps = self.epochs * self.steps_per_epoch
        self.train_step = TrainStep(mixture, objective, regularisers, config, steps, group)
        self.monitor = CollapseMonitor(mixture.num_experts, self.epochs, objective.name)
        self.result = Fit()
        self.best: dict[str, Tensor] = {}
        self.best_nll = math.inf
        self.save: Callable[..., Path | None] = save_nothing
        self.start: int | None = None
        self.started = time.perf_counter()
        # one tensor: many small ones that are kept leave no room between them for what comes and goes
        self.losses = torch.zeros(self.steps_per_epoch, 2, device=device)
        self.begin_epoch(1)

    def begin_epoch(self, epoch: int) -> None:
        """Nothing seen of it yet."""
        self.epoch, self.done = epoch, 0
        self.train_step.order_before = self.train_step.order.get_state()
        self.steps_seen = 0
        self.statistics = self.train_step.new_statistics()

    @property
    def seconds(self) -> float:
        """Wall time of the training up to now."""
        return self.result.seconds_before + time.perf_counter() - self.started

    @property
    def seen(self) -> Tensor:
        """Loss and objective of the steps of this epoch, `[S, 2]`."""
        return self.losses[: self.steps_seen]

    def state_dict(self) -> dict[str, Any]:
        """The place in the training, and what came of it so far."""
        return {
            "training": {"seed": self.config.seed, "steps": self.train_step.steps},
            "epoch": self.epoch,
            "batches": self.done,
            "seen": self.seen,
            "history": self.result.history,
            "seconds": self.seconds,
            "best_epoch": self.result.best_epoch,
            "best_nll": self.best_nll if math.isfinite(self.best_nll) else None,
            "warnings": self.result.warnings,
            "reseeded": self.result.reseeded,
            "watchers": {name: one.state_dict() for name, one in named(self.callbacks)},
            **prefixed("best", self.best),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take such a state.

        Raises:
            ValueError: if it is of another training.
        """
        now, history, seen, best = self.state_dict()["training"], state["history"], state["seen"], part("best", state)
        for key, value in state.get("training", {}).items():  # older checkpoints do not tell it
            if now.get(key) != value:
                raise ValueError(f"its {key}: {value}, here {now.get(key)}")
        if [epoch["epoch"] for epoch in history] != [*range(1, len(history) + 1)]:
            raise ValueError("its epochs are not numbered from 1 on")
        if len(history) not in (state["epoch"], state["epoch"] - 1) or state["best_epoch"] > len(history):
            raise ValueError(f"{len(history)} epochs in epoch {state['epoch']}")
        if state["epoch"] > self.epochs + 1:
            raise ValueError("its epochs are others")
        if seen.dim() != 2 or seen.shape[1] != 2 or len(seen) > state["batches"]:
            raise ValueError("its losses have another shape")
        if best and forms(best) != forms(self.mixture.state_dict()):
            raise ValueError("its best weights have other names, shapes or types")
        self.epoch, self.done = state["epoch"], state["batches"]
        self.steps_seen = len(seen)
        self.losses[: len(seen)] = seen
        result = self.result
        result.history, result.best_epoch = history, state["best_epoch"]
        result.warnings, result.reseeded = state["warnings"], state["reseeded"]
        self.best_nll = math.inf if state["best_nll"] is None else state["best_nll"]
        self.best = {name: value.to(self.losses.device) for name, value in best.items()}
        for name, one in named(self.callbacks):
            one.load_state_dict(state.get("watchers", {}).get(name, {}))

    def prepare_experts(self, assignment: Tensor | None) -> None:
        """The warm start, and what re-seeds dead experts."""
        first, second = seeds(self.config.seed, 5)[3:]
        train_step, streamed = self.train_step, isinstance(self.train, RowStream)
        if assignment is not None or self.config.warm_start != "none":
            x, _ = held_rows(self.train)
            train_step.warm_start = warm_start(self.config, self.mixture, x, self.epochs, assignment, first, streamed)
        self.warm_epochs = 0 if train_step.warm_start is None else train_step.warm_start.epochs
        self.reseeding = Reseeding(self.mixture, train_step.optimiser, self.config.reseed_after, self.epochs, second)

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """The time in which epochs are trained: callbacks are told of its ends, and the best weights are left."""
        self.started = time.perf_counter()
        for callback in self.callbacks:
            callback.on_start(self.epochs, self.steps_per_epoch)
        try:
            yield
        finally:
            for callback in self.callbacks:
                callback.on_end()
            if self.best:
                self.mixture.load_state_dict(self.best)
            self.mixture.eval()
            self.objective.hold_statistics(False)
            self.result.seconds = self.seconds

    def train_until(self, last: int) -> None:
        """Train epochs up to the last one, unless training ends before; `result.stopped` says why."""
        while self.epoch <= last and not self.result.stopped:
            interrupted = self.train_epoch()
            if not interrupted or not self.result.history:
                self.judge(self.epoch_metrics())
            if interrupted:
                self.result.stopped = "interrupted"
            elif self.out_of_patience(self.epoch):
                self.result.stopped = "early"
            else:
                if self.warm_epochs < self.epoch < self.epochs:
                    self.reseed(self.epoch)
                self.begin_epoch(self.epoch + 1)

    def out_of_patience(self, epoch: int) -> bool:
        """Whether, after so many epochs, none has been the best for too long."""
        return 0 < self.patience <= epoch - max(self.result.best_epoch, self.warm_epochs)

    def tell_restart(self) -> None:
        """Tell the callbacks that training is not where it was."""
        for callback in self.callbacks:
            callback.on_restart(self.result.history)

    def train_epoch(self) -> bool:
        """One pass over the training rows, or what is left of it; returns whether it was interrupted."""
        self.mixture.train()
        self.objective.train()
        for rows, (x, y, given) in zip(self.batch_sizes[self.done :], self.batches(), strict=True):
            try:
                step = self.train_step.take_step(x, y, self.statistics, rows=rows, **given)
            except NonFiniteBatch as batch:
                self.pass_over(trace(self.train_step, batch.pieces))
            else:
                self.losses[self.steps_seen] = step
                self.steps_seen += 1
                for callback in self.callbacks:
                    callback.on_step(self.train_step.step)
            self.done += 1
            interrupted = self.group.any(self.should_stop())
            self.save(now=interrupted)
            if interrupted:
                return True
        return False

    def batches(self) -> Iterator[tuple[Tensor, Tensor, dict[str, Tensor]]]:
        """This process's x and y of each batch that is left of the epoch, and what the step is told besides."""
        warm = self.train_step.warm_start if self.epoch <= self.warm_epochs else None
        if isinstance(self.train, RowStream):
            assign = None if warm is None else warm.assign
            for x, y, *weight in self.train_step.streamed(self.train, self.batch_sizes, self.done):
                besides = {"weight": weight[0]} if weight else {}
                yield x, y, besides if assign is None else besides | {"assignment": assign(x)}
            return
        besides = {} if self.weight is None else {"weight": self.weight}
        if warm is not None and warm.assignment is not None:
            besides["assignment"] = warm.assignment
        columns = (*self.train, *besides.values())
        for x, y, *rest in self.train_step.batches(*columns, batch_size=self.batch_size, skip=self.done):
            yield x, y, dict(zip(besides, rest, strict=True))

    def pass_over(self, found: str) -> None:
        """Leave a batch out whose numbers are not finite, while that is allowed; else stop and keep what was before.

        Args:
            found: where the numbers arise.

        Raises:
            GatewiseError: if no more batches may be left out.
        """
        place = (
            f"epoch {self.epoch}, batch {self.done + 1} of {self.steps_per_epoch} (after step {self.train_step.step})"
        )
        if self.train_step.passed_over < self.config.skip_nonfinite:
            self.train_step.passed_over += 1
            self.warn([f"passed over a batch that is not finite: {place}: {found}"])
            return
        folder = self.save(diverged=True)
        kept = "" if folder is None else f"; the state before it is kept in {folder}"
        raise GatewiseError(f"training diverged: {place}: {advice(found, self.config)}{self.bad_rows()}{kept}")

    def bad_rows(self) -> str:
        """Which of the rows given are not finite, as the caller numbers them; nothing where all are or nobody knows."""
        if isinstance(self.train, RowStream):
            return ""
        bad = [(~part.flatten(1).isfinite()).any(1) if part.dim() > 1 else ~part.isfinite() for part in self.train]
        rows = (bad[0] | bad[1]).nonzero().flatten().tolist()
        named = ", ".join(map(str, rows[:5])) + (f", … ({len(rows)} in all)" if len(rows) > 5 else "")
        return f"; not finite are the training rows {named}, counted from 0" if rows else ""

    def epoch_metrics(self) -> dict[str, Any]:
        """The line of `metrics.jsonl` about the training rows."""
        if not self.steps_seen:
            raise GatewiseError(
                f"training diverged: no batch of epoch {self.epoch} was finite; lower lr or check the data"
            )
        loss, objective = self.seen.mean(0).tolist()
        figures = {"epoch": self.epoch, "step": self.train_step.step, "seconds": 0.0}
        figures |= {} if self.start is None else {"start": self.start}
        figures |= {"temperature": self.objective.temperature, "train_loss": loss, "train_objective": objective}
        if self.config.skip_nonfinite:
            figures["train_skipped"] = self.done - self.steps_seen
        return figures | self.statistics.metrics()

    def reseed(self, epoch: int) -> None:
        """Let dead experts start again, once the epoch is judged and its weights are kept, and say so."""
        reseeded = self.reseeding.after_epoch(epoch, self.statistics.argmax)
        self.result.reseeded += reseeded
        for one in reseeded:
            self.tell(in_words(one))

    def diverged(self, what: str, value: float) -> GatewiseError:
        """What to say of a number that is not finite."""
        return GatewiseError(
            f"training diverged: the {what} is {value} by step {self.train_step.step}; lower lr (it was "
            f"{self.config.lr}) or check the data for extreme values"
        )

    def judge(self, metrics: dict[str, Any]) -> None:
        """Validate, keep the weights if they are the best, and tell the callbacks."""
        if self.validation is None:
            self.result.best_epoch = metrics["epoch"]
        else:
            self.validate(metrics, self.validation)
        metrics["seconds"] = self.seconds
        self.result.history.append(metrics)
        for callback in self.callbacks:
            callback.on_epoch(metrics)
        self.warn(self.monitor.check(metrics))

    def validate(self, metrics: dict[str, Any], rows: Rows | RowStream) -> None:
        """Add the validation figures to the metrics, and keep the weights if they are the best."""
        figures = figures_of(self.mixture, rows, self.validation_weight, self.num_classes, self.group)
        nll = figures.get("weighted_nll", figures["nll"])
        if not math.isfinite(nll):
            raise self.diverged("validation NLL", nll)
        metrics |= {f"validation_{name}": value for name, value in figures.items()}
        if nll < self.best_nll:
            self.best_nll, self.result.best_epoch = nll, metrics["epoch"]
            self.best = {name: value.detach().clone() for name, value in self.mixture.state_dict().items()}

    def warn(self, messages: list[str]) -> None:
        """Keep warnings, and tell the callbacks; those of one of several starts only once it goes on."""
        self.result.warnings += messages
        for message in messages if self.start is None else ():
            self.tell(message)

    def conclude(self) -> None:
        """Keep the warnings that the kept weights deserve, and tell those that are new."""
        metrics = self.result.history[self.result.best_epoch - 1]
        before, self.result.warnings = self.result.warnings, self.monitor.conclude(metrics, self.result.warnings)
        for message in self.result.warnings:
            if message not in before:
                self.tell(message)

    def tell(self, message: str) -> None:
        """Tell the callbacks of something that is wrong."""
        for callback in self.callbacks:
            callback.on_warning(message)


def on_device(rows: Rows | RowStream, device: torch.device) -> Rows | RowStream:
    """The rows where the model is; of those that are read as they are needed each batch goes there."""
    return rows if isinstance(rows, RowStream) else (rows[0].to(device), rows[1].to(device))


def most_classes(*parts: Rows | RowStream | None) -> int:
    """The largest class in rows that are in memory, plus one."""
    return int(max((part[1].max() for part in parts if isinstance(part, tuple)), default=0)) + 1
