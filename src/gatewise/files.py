"""Files written whole or not at all, and read with one line for what is wrong with them."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gatewise.errors import GatewiseError

try:
    import fcntl
except ImportError:  # not on Windows, where nothing is locked
    fcntl = None


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
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise GatewiseError(f"cannot write into {folder}: {error.strerror}") from None
    with lock:
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise GatewiseError(busy) from None
        yield


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
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GatewiseError(f"{path} is missing: {path.parent} is not a finished run") from None
    except OSError as error:
        raise GatewiseError(f"cannot read {path}: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GatewiseError(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise GatewiseError(f"{path} does not hold a JSON object")
    return value
