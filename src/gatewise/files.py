"""Files written whole or not at all, and read with one line for what is wrong with them, whoever wrote them."""

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gatewise.errors import GatewiseError
from gatewise.parsing import parse_json

try:
    import fcntl
except ImportError:  # not on Windows, where nothing is locked
    fcntl = None

LOCK = ".lock"
LARGEST = 64 * 2**20
"""Bytes of a JSON or TOML file in a run folder, at most; looked at before it is read."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed into place when the block ends: what was there before stays until then.

    Raises:
        GatewiseError: if it cannot be written.
    """
    if not path.parent.is_dir():
        raise GatewiseError(f"cannot write {path}: there is no folder {path.parent}")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    except OSError as error:
        raise GatewiseError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def held(folder: Path, busy: str) -> Iterator[None]:
    """Keep every other process that asks for it out of a folder; the system lets go when this process ends.

    Raises:
        GatewiseError: `busy`, if another process holds it; or if nothing can be written there.
    """
    try:
        # neither emptied nor followed, should somebody have put a link there
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    except OSError as error:
        raise GatewiseError(f"cannot write into {folder}: {error.strerror}") from None
    with os.fdopen(lock, "r+b", buffering=0) as file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise GatewiseError(busy) from None
        yield


def sweep(folder: Path) -> None:
    """Remove what writers that were killed have left in a folder that this process holds."""
    for path in [*folder.glob(".*.part"), *folder.glob("*/.*.part")]:
        path.unlink(missing_ok=True)


def check_links(folder: Path) -> None:
    """Refuse a run folder from which a symbolic link leads out: what it reads or writes there is not the run's.

    Raises:
        GatewiseError: naming the link.
    """
    inside = Path(os.path.realpath(folder))
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(inside):
            raise GatewiseError(f"{path} is a symbolic link out of the run folder; put the file itself there")


def check_regular(path: Path) -> int:
    """The size of a file in bytes.

    Raises:
        OSError: if it is not there.
        GatewiseError: for a device or a pipe, which may never end, and for a folder.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise GatewiseError(f"{path} is no regular file; restore the run folder, or train the run again")
    return found.st_size


def read_text(path: Path) -> str:
    """The text of a file that may come from a stranger.

    Raises:
        OSError: if it cannot be read.
        UnicodeDecodeError: if it is not UTF-8.
        GatewiseError: for a device, a pipe or a folder, and for a file beyond `LARGEST`.
    """
    size = check_regular(path)
    if size > LARGEST:
        raise GatewiseError(
            f"{path} has {size / 2**20:.0f} MiB, and such a file has {LARGEST / 2**20:.0f} at most; restore it"
        )
    return path.read_text(encoding="utf-8")


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, whole or not at all."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write an object as JSON, one line a key."""
    lines = (f"{json.dumps(key)}: {json.dumps(item, ensure_ascii=False)}" for key, item in value.items())
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        GatewiseError: if it is missing or is not a JSON object.
    """
    try:
        value = parse_json(read_text(path))
    except FileNotFoundError:
        raise GatewiseError(f"{path} is missing: {path.parent} is not a finished run") from None
    except OSError as error:
        raise GatewiseError(f"cannot read {path}: {error.strerror}") from None
    except GatewiseError:
        raise
    except ValueError as error:
        raise GatewiseError(f"{path} is not JSON: {error}; restore it, or train the run again") from None
    if not isinstance(value, dict):
        raise GatewiseError(f"{path} does not hold a JSON object; restore it, or train the run again")
    return value
