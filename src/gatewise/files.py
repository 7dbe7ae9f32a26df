"""Files written whole or not at all, and read with one line for what is wrong with them, whoever wrote them."""

import contextlib
import json
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
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


_PARTS: set[tuple[int, Path]] = set()
"""Processes and their temporary files that are being written."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed into place when the block ends: what was there before stays until then.

    The file has the mode of the one that it replaces, or what the umask lets a new one have, whoever writes it.

    Raises:
        GatewiseError: if it cannot be written.
    """
    if not is_folder(path.parent):
        raise GatewiseError(f"cannot write {path}: there is no folder {path.parent}")
    # short, as the file's own name may be as long as the file system takes
    part = path.with_name(f".{zlib.crc32(os.fsencode(path.name)):08x}.{os.getpid()}.part")
    mine = os.getpid(), part
    try:
        _PARTS.add(mine)
        mode = _mode(path, part)
        yield part
        set_mode(part, mode)
        os.replace(part, path)
    except OSError as error:
        if error.filename not in (None, path, part, str(path), str(part)):
            raise  # what is written comes of a file that cannot be read
        raise GatewiseError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        _PARTS.discard(mine)


def _mode(path: Path, part: Path) -> int:
    """The mode that a file is to have, whose temporary one is made here."""
    usual = made(part)
    try:
        before = path.stat().st_mode
    except OSError:  # it is new, or a link to nothing
        return usual
    if not stat.S_ISREG(before):  # root would replace a device by a file
        raise GatewiseError(f"cannot write {path}: it is {'a folder' if stat.S_ISDIR(before) else 'no regular file'}")
    return stat.S_IMODE(before) & 0o777


def made(path: Path) -> int:
    """Make an empty file, and return the mode that the umask gives it, as some writers choose one of their own."""
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        return stat.S_IMODE(os.fstat(number).st_mode)
    finally:
        os.close(number)


def set_mode(path: Path, mode: int) -> None:
    """Give a file a mode, where its file system has modes."""
    if stat.S_IMODE(path.stat().st_mode) != mode:
        with contextlib.suppress(OSError):
            path.chmod(mode)


def remove_parts() -> None:
    """Remove the temporary files of this process, before it ends without leaving its blocks."""
    for process, part in [*_PARTS]:
        if process == os.getpid():
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
    if not os.access(folder, os.R_OK | os.X_OK):
        raise GatewiseError(f"{folder} cannot be read (Permission denied); check its permissions")
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(inside):
            raise GatewiseError(f"{path} is a symbolic link out of the run folder; put the file itself there")


def check_regular(path: Path) -> int:
    """The size of a file in bytes.

    Raises:
        FileNotFoundError: if it is not there.
        GatewiseError: for one that may not be read; for a device or a pipe, which may never end, and for a folder.
    """
    try:
        found = path.stat()
        if stat.S_ISREG(found.st_mode):
            path.open("rb").close()  # some readers say of one that they may not open that it is missing
            return found.st_size
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not path.is_symlink():
            raise
        raise GatewiseError(unreadable(path)) from None
    raise GatewiseError(unreadable(path))


def unreadable(path: str | Path) -> str:
    """What is wrong with a path from which no file can be read, and what to do."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            with open(path, "rb"):
                return f"{path}: cannot be read as such a file; check the path"
    except FileNotFoundError:
        if os.path.islink(path):
            return f"{path} is a symbolic link to a file that is not there; mend the link"
        return f"{path}: no such file; check the path"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror}); check the path and its permissions"
    return f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'no regular file'}; a file is needed there"


def as_path(value: object, name: str) -> Path:
    """A path that a caller gave; raises GatewiseError for what is none."""
    if not isinstance(value, str | os.PathLike) or isinstance(os.fspath(value), bytes):
        raise GatewiseError(f"{name} must be a path, got {type(value).__name__}; give a text or a pathlib.Path")
    return Path(value)


def is_folder(path: Path) -> bool:
    """Whether it is a folder.

    Raises:
        GatewiseError: where that cannot be found out, which is not the same as no.
    """
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        raise GatewiseError(unreadable(path)) from None


def check_output(path: Path, inputs: Iterable[str | Path]) -> None:
    """Refuse to write over what is read, by whatever name, or into a folder that is read as a whole.

    Args:
        path: that is to be written.
        inputs: files, and folders of Parquet files or images.

    Raises:
        GatewiseError: naming the input.
    """
    for given in map(Path, inputs):
        inside = given.is_dir() and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(given))
        each = given.rglob("*") if given.is_dir() else [given]
        if inside or (path.exists() and any(one.exists() and path.samefile(one) for one in each)):
            raise GatewiseError(f"{path} would be written over {given}, which is read; give another --output")


def named_after(data: str, otherwise: str) -> str:
    """What a folder is named after data: their name, short enough that a number may follow it."""
    stem = Path(data).stem or otherwise
    whole = os.fsencode(stem)
    return stem if len(whole) <= 200 else whole[:200].decode(errors="ignore")


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
    try:
        content = text.encode()
    except UnicodeEncodeError as error:  # a name that the system gave as bytes
        near = text[max(error.start - 20, 0) : error.end].encode(errors="backslashreplace").decode()
        raise GatewiseError(f"cannot write {path}: {near!r} is not UTF-8; give what is named so another name") from None
    with replacing(path) as part:
        part.write_bytes(content)


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
