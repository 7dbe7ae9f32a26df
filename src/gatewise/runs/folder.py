"""A run folder while its training is not over: where it is, who holds it, what it begins with, whether it has ended."""

import contextlib
import glob
import itertools
from collections.abc import Iterator
from pathlib import Path

from gatewise.config.run import RunConfig
from gatewise.distributed import Group
from gatewise.errors import GatewiseError
from gatewise.files import LOCK, held, named_after, read_json, sweep, write_json, write_text
from gatewise.reporting import write_report
from gatewise.runs.data import Parts
from gatewise.runs.environment import environment
from gatewise.training.checkpoints.folder import Checkpoints


def make_folder(out: str | Path | None, data: str) -> Path:
    """Make the run folder: `out`, or the first of runs/NAME-1, runs/NAME-2, … that is not there.

    Raises:
        GatewiseError: if `out` is in use, or cannot be made.
    """
    numbers = itertools.count(1)
    while True:
        folder = Path("runs") / f"{named_after(data, 'run')}-{next(numbers)}" if out is None else Path(out)
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


def begin(folder: Path, config: RunConfig, command: str, parts: Parts, group: Group) -> None:
    """Write what a run folder has before its training."""
    about = environment() | {"command": command, "data": parts.whole.hash()}
    write_json(folder / "environment.json", about | ({"launch": group.launch} if group.launch else {}))
    write_text(folder / "config.toml", config.to_toml())  # the last: from here on the run can go on


def begun_before(out: str | Path | None, data: str, group: Group) -> Path | None:
    """The run folder that these processes had begun before they were started again; None where there is none."""
    if not group.restarted:
        return None
    stem = named_after(data, "run")
    folders = Path("runs").glob(f"{glob.escape(stem)}-*") if out is None else [Path(out)]
    return next((folder for folder in folders if _launch_of(folder) == group.launch), None)


def _launch_of(folder: Path) -> str | None:
    """The launch of processes that a run was begun in, if it can go on."""
    path = folder / "environment.json"
    whole = path.is_file() and (folder / "config.toml").is_file()
    return read_json(path).get("launch") if whole else None


@contextlib.contextmanager
def holding(folder: Path, group: Group) -> Iterator[None]:
    """Keep other trainings out of a run folder, by the first process.

    Raises:
        GatewiseError: if another one is at work there.
    """
    busy = f"another process trains in {folder}; wait until it ends, or give another folder with --out"
    with contextlib.ExitStack() as stack:
        with group.raise_together():
            if group.is_leader:
                stack.enter_context(held(folder, busy))
                sweep(folder)
        yield


def worth_keeping(folder: Path) -> bool:
    """Whether there is anything in a run folder that took time to make."""
    metrics = folder / "metrics.jsonl"
    return (folder / "checkpoints").exists() or (metrics.exists() and metrics.stat().st_size > 0)


def ended(folder: Path, group: Group) -> bool:
    """Whether the training of a run is over; finishes one that was killed at the very end.

    Raises:
        GatewiseError: if it was finished before, unless its processes were started again.
    """
    if not (folder / "summary.json").exists() or read_json(folder / "summary.json").get("interrupted"):
        return False
    if (folder / "checkpoints").exists() or not (folder / "report.html").exists():  # killed at the very end
        finish(folder)
    elif not group.restarted:
        raise GatewiseError(
            f"the run {folder} is finished; to train its model further, start another from it with "
            f"--set start_from={folder}"
        )
    return True


def finish(folder: Path, interrupted: bool = False) -> None:
    """Write the report of a run whose summary is written; what it needs to go on stays only where it may go on."""
    write_report(folder)
    if not interrupted:
        Checkpoints(folder / "checkpoints").clear()
