"""From a configuration to a run folder, and on from where a training was interrupted."""

import contextlib
import glob
import itertools
import shlex
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gatewise.distributed import Group, joined, launch_name, own_device
from gatewise.errors import GatewiseError
from gatewise.files import LOCK, check_links, held, read_json, sweep, write_json, write_text
from gatewise.objectives import regularisers
from gatewise.reporting import write_report
from gatewise.training.audit_along import AuditAlong, check_audit_every
from gatewise.training.calibration import fit_calibration
from gatewise.training.callbacks import Callback
from gatewise.training.checkpoints import Checkpoints
from gatewise.training.config import LoopConfig, RunConfig, load_config
from gatewise.training.folder import environment
from gatewise.training.gate import check_gate
from gatewise.training.heads import with_head
from gatewise.training.loop import fit
from gatewise.training.metrics_file import MetricsFile
from gatewise.training.model import build_objective, choose_device, samples_of
from gatewise.training.parts import Parts, read_parts, with_absolute_paths
from gatewise.training.prepare import Prepared, continued, prepare
from gatewise.training.run import Run, config_of
from gatewise.training.summary import summarise
from gatewise.training.tensorboard import TensorBoard, check_tensorboard
from gatewise.training.weights import class_weights, of_rows

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
    config = continued(config)
    device = choose_device(config.device)
    with torch.random.fork_rng(devices=[]):
        build_objective(config, features=1)  # what cannot work is refused before the data are read
    check_audit_every(config)
    check_tensorboard(config.tensorboard)
    check_gate(config)
    regularisers(config.regulariser, expert_prior=config.expert_prior)
    with joined(device) as group:
        before = group.of_leader(lambda: begun_before(out, config.data))
        if before is not None:
            return _resumed(before, group, {}, callbacks, should_stop, again=True)
        with group.agreed():
            parts = read_parts(config)
            config = with_head(with_absolute_paths(config).settled(len(parts.train)), parts.head)
            check_gate(config)
        folder = group.of_leader(lambda: make_folder(out, config.data))
        command = command or f"gatewise train --config {shlex.quote(str(folder / 'config.toml'))}"
        with _held(folder, group):
            try:
                with group.agreed():
                    if group.leads:
                        _begin(folder, config, command, parts)
                return _trained(config, folder, parts, command, callbacks, should_stop, group)
            except GatewiseError:
                if group.leads and not _begun(folder):
                    shutil.rmtree(folder)
                    if out is None:
                        with contextlib.suppress(OSError):  # other runs are in it
                            folder.parent.rmdir()
                raise


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
    folder = Path(folder)
    if not (folder / "config.toml").is_file():
        raise GatewiseError(f"there is no run to go on with in {folder}; make one with gatewise train")
    check_links(folder)
    with joined(choose_device(config_of(folder).device)) as group:
        return _resumed(
            folder, group, settings or {}, callbacks, should_stop, again=launch_name(again=True) is not None
        )


def _resumed(
    folder: Path,
    group: Group,
    settings: Mapping[str, Any],
    callbacks: Iterable[Callback],
    should_stop: Callable[[], bool],
    again: bool,
) -> Run:
    """Go on in a run folder; where torchrun has started the processes again, it may be finished."""
    with _held(folder, group):
        if group.of_leader(lambda: _ended(folder, again)):
            return Run.load(folder)
        with group.agreed():
            config = _with_settings(config_of(folder), settings)
            there = read_json(folder / "environment.json")
            parts = read_parts(config)
            if parts.whole.hash() != there.get("data"):
                raise GatewiseError(
                    f"{config.data} has changed since the run {folder} was begun, so it cannot go on; train anew"
                )
            if settings and group.leads:
                write_text(folder / "config.toml", config.to_toml())
        return _trained(config, folder, parts, str(there.get("command")), callbacks, should_stop, group)


def _ended(folder: Path, again: bool) -> bool:
    """Whether the training of a run is over; finishes one that was killed at the very end.

    Raises:
        GatewiseError: if it was finished before, unless its processes were started again.
    """
    if not (folder / "summary.json").exists() or read_json(folder / "summary.json").get("interrupted"):
        return False
    if (folder / "checkpoints").exists() or not (folder / "report.html").exists():  # killed at the very end
        _finish(folder)
    elif not again:
        raise GatewiseError(
            f"the run {folder} is finished; to train its model further, start another from it with "
            f"--set start_from={folder}"
        )
    return True


def _begin(folder: Path, config: RunConfig, command: str, parts: Parts) -> None:
    """Write what a run folder has before its training."""
    about = environment() | {"command": command, "data": parts.whole.hash()}
    write_json(folder / "environment.json", about | ({"launch": launch_name()} if launch_name() else {}))
    write_text(folder / "config.toml", config.to_toml())  # the last: from here on the run can go on


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
    started, device = time.perf_counter(), own_device(choose_device(config.device))
    checkpoints = Checkpoints(folder / "checkpoints")
    with _threads(config.threads), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        with group.agreed():
            prepared = prepare(config, parts, device)
        weights = class_weights(config.class_weight, prepared.model.spec.classes, prepared.rows["train"][1])
        with contextlib.ExitStack() as open_files:
            watchers: list[Callback] = []
            with group.agreed():
                if group.leads:
                    watchers = _watchers(config, folder, prepared, open_files)
                    watchers += callbacks
            result = fit(
                prepared.model.mixture,
                prepared.objective,
                prepared.rows["train"],
                prepared.rows["validation"],
                LoopConfig(**{name: getattr(config, name) for name in LoopConfig.model_fields}),
                weight=of_rows(weights, prepared.rows["train"][1]),
                validation_weight=of_rows(weights, prepared.rows["validation"][1]),
                regularisers=regularisers(config.regulariser, expert_prior=config.expert_prior),
                num_classes=len(prepared.model.spec.classes),
                callbacks=watchers,
                should_stop=should_stop,
                checkpoints=checkpoints,
                group=group,
                anew=None if config.start_from else prepared.model.spec.build,
            )

        def write() -> Run:
            model = prepared.model
            if parts.head == "categorical":
                calibration = fit_calibration(model.mixture, *prepared.rows["validation"])
                model = replace(model, calibration=calibration)
            model.save(folder / "model")
            summary = summarise(config, parts, replace(prepared, model=model), weights, result)
            summary |= {"command": command, "seconds": time.perf_counter() - started}
            write_json(folder / "summary.json", summary)
            if summary["interrupted"]:
                write_report(folder)
            else:
                _finish(folder)
            return Run(folder, config, model, summary)

        with group.agreed():
            run = write() if group.leads else None
    return Run.load(folder) if run is None else run


def _watchers(config: RunConfig, folder: Path, prepared: Prepared, files: contextlib.ExitStack) -> list[Callback]:
    """What writes into the run folder while it trains."""
    audits = _audits(config, folder, prepared)
    metrics = files.enter_context(MetricsFile(folder / "metrics.jsonl"))
    return [metrics, *audits, *_events(config, folder)]


def begun_before(out: str | Path | None, data: str) -> Path | None:
    """The run folder that these processes had begun before torchrun started them again; None where there is none."""
    name = launch_name(again=True)
    if name is None:
        return None
    stem = Path(data).stem or "run"
    folders = Path("runs").glob(f"{glob.escape(stem)}-*") if out is None else [Path(out)]
    found = [folder for folder in folders if _launch_of(folder) == name]
    return max(found, key=lambda folder: (folder / "environment.json").stat().st_mtime, default=None)


def _launch_of(folder: Path) -> str | None:
    """The start of processes that a run was begun in, if it can go on."""
    path = folder / "environment.json"
    whole = path.is_file() and (folder / "config.toml").is_file()
    return read_json(path).get("launch") if whole else None


@contextlib.contextmanager
def _held(folder: Path, group: Group) -> Iterator[None]:
    """Keep other trainings out of a run folder, by the first process."""
    with contextlib.ExitStack() as stack:
        with group.agreed():
            if group.leads:
                stack.enter_context(held(folder, _busy(folder)))
                sweep(folder)
        yield


def _finish(folder: Path) -> None:
    """Write the report of a run whose summary is written, and remove what it no longer needs."""
    write_report(folder)
    Checkpoints(folder / "checkpoints").clear()


def make_folder(out: str | Path | None, data: str) -> Path:
    """Make the run folder: `out`, or the first of runs/NAME-1, runs/NAME-2, … that is not there.

    Raises:
        GatewiseError: if `out` is in use, or cannot be made.
    """
    numbers = itertools.count(1)
    while True:
        folder = Path("runs") / f"{Path(data).stem or 'run'}-{next(numbers)}" if out is None else Path(out)
        try:
            folder.mkdir(parents=True, exist_ok=out is not None)
            if all(map(_left_over, folder.iterdir())):
                return folder
            raise GatewiseError(f"{folder} is there already; give another folder with --out")
        except FileExistsError:
            if out is not None:
                raise GatewiseError(f"{folder} is a file; give a folder with --out") from None
        except OSError as error:
            raise GatewiseError(f"cannot make the run folder {folder}: {error.strerror}; give another --out") from None


def _left_over(path: Path) -> bool:
    """Whether a file is what a training leaves that was killed before it began."""
    return path.name in (LOCK, "environment.json") or (path.name.startswith(".") and path.suffix == ".part")


def _audits(config: RunConfig, folder: Path, prepared: Prepared) -> list[AuditAlong]:
    """The audit along training, where it is wanted."""
    if not config.audit_every:
        return []
    model, rows = prepared.model.mixture, prepared.rows["train"]
    path = folder / "audits.jsonl"
    draws = samples_of(config) or 1
    return [AuditAlong(path, config.audit_every, model, prepared.objective, draws, rows, config.seed)]


def _events(config: RunConfig, folder: Path) -> list[TensorBoard]:
    """What writes event files, where they are wanted."""
    if not config.tensorboard:
        return []
    return [TensorBoard(folder / "tensorboard", config.to_toml())]


def _with_settings(config: RunConfig, settings: Mapping[str, Any]) -> RunConfig:
    """The configuration with other values for keys that are `FREE`."""
    for key in settings:
        if key not in FREE:
            raise GatewiseError(
                f"--resume goes on with what the run was begun with, but for {' and '.join(FREE)}; leave {key} out"
            )
    keys = config.model_dump(exclude_none=True) | dict(settings)
    return load_config(keys, dict.fromkeys(settings, "the command line"))


def _busy(folder: Path) -> str:
    return f"another process trains in {folder}; wait until it ends, or give another folder with --out"


def _begun(folder: Path) -> bool:
    """Whether there is anything in a run folder that took time to make."""
    metrics = folder / "metrics.jsonl"
    return (folder / "checkpoints").exists() or (metrics.exists() and metrics.stat().st_size > 0)


@contextlib.contextmanager
def _threads(threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
