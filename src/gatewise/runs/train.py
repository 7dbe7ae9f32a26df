"""From a configuration to a run folder, and on from where a training was interrupted."""

import contextlib
import shlex
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gatewise.config.checks import check_audit_every, check_gate
from gatewise.config.loading import load_config
from gatewise.config.objective import build_objective
from gatewise.config.run import MAKE_ONE, LoopConfig, RunConfig, choose_device
from gatewise.data import StoredRows
from gatewise.distributed import Group, join_processes, local_device
from gatewise.errors import GatewiseError, check_kind
from gatewise.files import as_path, check_links, read_json, write_json, write_text
from gatewise.metrics.calibration import fit_calibration
from gatewise.models.task import with_head
from gatewise.objectives import regularisers
from gatewise.runs.callbacks import run_callbacks
from gatewise.runs.data import Parts, read_parts, with_absolute_paths
from gatewise.runs.expert_parallel import ExpertParallel, check_expert_parallel
from gatewise.runs.folder import begin, begun_before, ended, finish, holding, make_folder, worth_keeping
from gatewise.runs.prepare import Prepared, continued, prepare, weighted, weights_of_classes
from gatewise.runs.run import Run, config_of
from gatewise.runs.seen_rows import MOST, SeenRows
from gatewise.runs.summary import summarise
from gatewise.training.callbacks import Callback, check_callbacks, check_should_stop, check_tensorboard
from gatewise.training.fit import fit
from gatewise.training.input.datasets import RowStream, held_rows
from gatewise.training.loop import Fit

FREE = ("skip_nonfinite", "checkpoint_seconds")
"""Keys that may be set anew when training goes on."""


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
    state is left as it was (on the CPU and CUDA). Processes that torchrun started train together, and the first one
    writes the folder; started again after one of them failed, they go on from the last checkpoint.

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
    check_kind(config, RunConfig, "config", MAKE_ONE)
    callbacks = check_callbacks(callbacks)
    check_should_stop(should_stop)
    out = None if out is None else as_path(out, "out")
    with join_processes(choose_device(config.device), should_stop) as group:
        before = group.from_leader(lambda: begun_before(out, config.data, group))
        if before is not None:
            return _resumed(before, group, {}, callbacks, should_stop)
        with group.raise_together():
            check_expert_parallel(config, group)
            config, parts = _checked(config)
        folder = group.from_leader(lambda: make_folder(out, config.data))
        command = command or f"gatewise train --config {shlex.quote(str(folder / 'config.toml'))}"
        with holding(folder, group):
            try:
                with group.raise_together():
                    if group.is_leader:
                        begin(folder, config, command, parts, group)
                return _trained(config, folder, parts, command, callbacks, should_stop, group)
            except (GatewiseError, KeyboardInterrupt):
                if group.is_leader and not worth_keeping(folder):
                    shutil.rmtree(folder)
                    if out is None:
                        with contextlib.suppress(OSError):  # other runs are in it
                            folder.parent.rmdir()
                raise


def _checked(config: RunConfig) -> tuple[RunConfig, Parts]:
    """The configuration with what the data decide, and the data; what cannot work is refused before they are read."""
    config = continued(config)
    with torch.random.fork_rng(devices=[]):
        build_objective(config, features=1)
    check_audit_every(config)
    check_tensorboard(config.tensorboard)
    check_gate(config)
    regularisers(config.regulariser, expert_prior=config.expert_prior)
    parts = read_parts(config)
    config = with_head(with_absolute_paths(config).settled(len(parts.train)), parts.head)
    if isinstance(parts.whole, StoredRows):
        config = config.model_copy(update={"stream": True})  # whatever the rule is when the run is read again
    check_gate(config)
    return config, parts


def resume(
    folder: str | Path,
    *,
    settings: Mapping[str, Any] | None = None,
    callbacks: Iterable[Callback] = (),
    should_stop: Callable[[], bool] = lambda: False,
) -> Run:
    """Go on with a training that was interrupted or killed, as if it had not been.

    On the same machine and number of threads the weights, and everything else but times, are those of a training that
    was not interrupted, to the bit. Without a checkpoint it begins again.

    Args:
        folder: the run folder.
        settings: other values for keys of `FREE`, which decide nothing about the model.
        callbacks: see `Callback`.
        should_stop: see `train`.

    Raises:
        GatewiseError: for a folder that is none, a run that is finished or is being trained, another key, or data that
            have changed.
    """
    folder = as_path(folder, "folder")
    check_should_stop(should_stop)
    if not (folder / "config.toml").is_file():
        raise GatewiseError(f"there is no run to go on with in {folder}; make one with gatewise train")
    check_links(folder)
    with join_processes(choose_device(config_of(folder).device), should_stop) as group:
        return _resumed(folder, group, settings or {}, callbacks, should_stop)


def _resumed(
    folder: Path,
    group: Group,
    settings: Mapping[str, Any],
    callbacks: Iterable[Callback],
    should_stop: Callable[[], bool],
) -> Run:
    """Go on in a run folder; where the processes were started again, it may be finished."""
    with holding(folder, group):
        if group.from_leader(lambda: ended(folder, group)):
            return Run.load(folder)
        with group.raise_together():
            config = _with_settings(config_of(folder), settings)
            there = read_json(folder / "environment.json")
            parts = read_parts(config)
            if parts.whole.hash() != there.get("data"):
                raise GatewiseError(
                    f"{config.data} has changed since the run {folder} was begun, so it cannot go on; train anew"
                )
            if settings and group.is_leader:
                write_text(folder / "config.toml", config.to_toml())
        return _trained(config, folder, parts, str(there.get("command")), callbacks, should_stop, group)


def _trained(
    config: RunConfig,
    folder: Path,
    parts: Parts,
    command: str,
    callbacks: Iterable[Callback],
    should_stop: Callable[[], bool],
    group: Group,
) -> Run:
    """Train in a run folder, from its last checkpoint where it has one, and write what came of it."""
    started, device = time.perf_counter(), local_device(choose_device(config.device))
    with _threads(config.threads), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        with group.raise_together():
            prepared = prepare(config, parts, device)
        weights = weights_of_classes(config, prepared.model.classes, prepared.rows["train"])
        experts = ExpertParallel(config, group, device)
        experts.shard(prepared.model.mixture)
        result = _fitted(config, folder, prepared, weights, callbacks, should_stop, experts)
        experts.gather(prepared.model.mixture)
        run = None
        with group.raise_together():
            if group.is_leader:
                run = _written(config, folder, parts, prepared, weights, result, command, started)
    return Run.load(folder) if run is None else run


def _fitted(
    config: RunConfig,
    folder: Path,
    prepared: Prepared,
    weights: torch.Tensor | None,
    callbacks: Iterable[Callback],
    should_stop: Callable[[], bool],
    experts: ExpertParallel,
) -> Fit:
    """Train the model, with what the first process writes and shows meanwhile."""
    group, spec = experts.group, prepared.model.spec
    with contextlib.ExitStack() as open_files:
        led: list[Callback] = []
        with group.raise_together():
            if group.is_leader:
                led = [*run_callbacks(config, folder, prepared, open_files), *callbacks]
        (train, weight), (validation, validation_weight) = (
            weighted(prepared.rows[part], weights, prepared.model.classes) for part in ("train", "validation")
        )
        return fit(
            prepared.model.mixture,
            prepared.objective,
            train,
            validation,
            LoopConfig(**{name: getattr(config, name) for name in LoopConfig.model_fields}),
            weight=weight,
            validation_weight=validation_weight,
            regularisers=regularisers(config.regulariser, expert_prior=config.expert_prior),
            num_classes=len(spec.classes),
            callbacks=led,
            should_stop=should_stop,
            checkpoints=experts.checkpoints(folder / "checkpoints"),
            group=group,
            model_factory=None if config.start_from else lambda: experts.shard(spec.build()),
        )


def _written(
    config: RunConfig,
    folder: Path,
    parts: Parts,
    prepared: Prepared,
    weights: torch.Tensor | None,
    result: Fit,
    command: str,
    started: float,
) -> Run:
    """Write the model, the summary and the report."""
    model = prepared.model
    if parts.head == "categorical":
        model = replace(model, calibration=fit_calibration(model.mixture, *held_rows(prepared.rows["validation"])))
    model.save(folder / "model")
    train = prepared.rows["train"]
    if not isinstance(train, RowStream) and len(train[0]) <= MOST:
        SeenRows.of(train[0]).save(folder)
    summary = summarise(config, parts, replace(prepared, model=model), weights, result)
    summary |= {"command": command, "seconds": result.seconds_before + time.perf_counter() - started}
    write_json(folder / "summary.json", summary)
    finish(folder, interrupted=summary["interrupted"])
    return Run(folder, config, model, summary)


def _with_settings(config: RunConfig, settings: Mapping[str, Any]) -> RunConfig:
    """The configuration with other values for keys that are `FREE`."""
    for key in settings:
        if key not in FREE:
            raise GatewiseError(
                f"--resume goes on with what the run was begun with, but for {' and '.join(FREE)}; leave {key} out"
            )
    keys = config.model_dump(exclude_none=True) | dict(settings)
    return load_config(keys, dict.fromkeys(settings, "the command line"))


@contextlib.contextmanager
def _threads(threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
