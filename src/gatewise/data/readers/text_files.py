"""Text as files hold it: in some encoding, and unpacked where it is compressed."""

import bz2
import codecs
import contextlib
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pyarrow

from gatewise.errors import GatewiseError

COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
"""How the names of text files end that are compressed."""
FREE, RATIO = 2**28, 200
"""A file that unpacks to more than so many bytes, and to more than so many times its size, is no table."""
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""The encodings whose files say at their beginning which they have; what begins as another one stands before it."""
NAMED = {"ansi": "cp1252", "excel": "cp1252", "unicode": "utf-16"}
ODD = ("idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape", "utf_7")
"""Encodings of Python's that are not for files."""


def as_encoding(text: str) -> str:
    """Python's name of the encoding that is meant; raises ValueError for what is none."""
    try:
        name = codecs.lookup(NAMED.get(text.strip().lower(), text.strip())).name
        told = "a;\n".encode(name).decode(name)
    except (LookupError, ValueError):
        name = told = ""
    if told != "a;\n" or name.replace("-", "_") in ODD:
        raise ValueError("give an encoding of text, such as latin-1, cp1252 or utf-16")
    return name


def unpacked_name(name: str) -> str:
    """The name of a file without the ending that says how it is compressed."""
    root, ending = os.path.splitext(name)
    return root if ending.lower() in COMPRESSED else name


@contextlib.contextmanager
def open_text(path: Path, encoding: str | None = None) -> Iterator[TextIO]:
    """The text of a file, UTF-8 where no other encoding is said, for a `with` block.

    A mark at its beginning of UTF-8 or, where another encoding is said, of UTF-16 tells more than what is said.
    Whatever goes wrong with the file while it is open raises GatewiseError, in a line that names the place.
    """
    try:
        with _open_bytes(path) as file:
            buffered = io.BufferedReader(file)
            mark = next((known for mark, known in MARKS.items() if buffered.peek(4).startswith(mark)), None)
            read_as = mark if encoding or mark == "utf-8-sig" else None
            with io.TextIOWrapper(buffered, read_as or encoding or "utf-8") as text:
                yield text
    except UnicodeDecodeError:
        raise GatewiseError(_undecodable(path, encoding)) from None
    except UnicodeError:  # what Python's utf-16 says of a file that does not begin with a byte order mark
        raise GatewiseError(
            f"{path}: no byte order mark at its beginning, as {encoding} text has; say utf-16-le or utf-16-be if it is "
            "text without one, leave encoding out for UTF-8, or save the file as UTF-8"
        ) from None
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise GatewiseError(_unreadable(path, error)) from None


def _unreadable(path: Path, error: Exception) -> str:
    ending = path.suffix.lower()
    if ending in COMPRESSED and not getattr(error, "strerror", None):
        return f"{path}: cannot be unpacked as {ending} ({error}); write it again"
    return f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}); check the path"


def _open_bytes(path: Path) -> "io.RawIOBase":
    ending, opened = path.suffix.lower(), {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    if ending not in COMPRESSED:
        return path.open("rb", buffering=0)
    with path.open("rb"):
        pass  # what is wrong with the path is said in the system's words
    packed: Any = opened[ending](path) if ending in opened else pyarrow.CompressedInputStream(str(path), "zstd")
    return _Unpacked(packed, path)


class _Unpacked(io.RawIOBase):
    """A compressed file that is unpacked as it is read, and no further than a table would be."""

    def __init__(self, packed: Any, path: Path):
        self.packed, self.path = packed, path
        self.most = max(FREE, RATIO * path.stat().st_size)
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.packed.read(len(buffer))
        buffer[: len(data)] = data
        self.count += len(data)
        if self.count > self.most:
            raise GatewiseError(
                f"{self.path}: unpacks to more than {self.most / 2**20:.0f} MiB, over {RATIO} times its size, which "
                "few tables do; unpack it first, if it is one"
            )
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self.packed.close()
        super().close()


def _undecodable(path: Path, encoding: str | None) -> str:
    """What to say of a file that has another encoding."""
    before, decode = 0, codecs.getincrementaldecoder(encoding or "utf-8")().decode
    with _open_bytes(path) as file:
        first = chunk = file.read(2**16) or b""
        while chunk:
            try:
                decode(chunk)
            except UnicodeDecodeError as error:
                place = before + len(chunk) - len(error.object) + error.start
                byte = error.object[error.start]
                break
            before += len(chunk)
            chunk = file.read(2**16) or b""
        else:
            return f"{path}: ends within a character, as {encoding or 'UTF-8'} has it; write the file again"
    line = _line(path, place, encoding or "utf-8")
    told = f"{path}, line {line}: byte 0x{byte:02X}, number {place + 1} of the file, is not {encoding or 'UTF-8'} text"
    if encoding:
        return f"{told}; say which encoding it has, or save the file as UTF-8"
    if MARKS.get(first[:2]):
        return f"{told} (it begins as UTF-16 does); say --set encoding=utf-16, or save the file as UTF-8"
    return f"{told}; say which encoding it has, such as --set encoding=latin-1 or cp1252, or save the file as UTF-8"


def _line(path: Path, place: int, encoding: str) -> int:
    """The line that a byte is in."""
    line, decode = 1, codecs.getincrementaldecoder(encoding)("replace").decode
    with _open_bytes(path) as file:
        while place and (chunk := file.read(min(place, 2**16))):
            line += decode(chunk).count("\n")
            place -= len(chunk)
    return line
