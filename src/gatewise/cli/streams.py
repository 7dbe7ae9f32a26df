"""Standard output and error on a full disk, closed, or read by nobody: what that costs, and no more.

What is said on standard error is no command's purpose: where it cannot be written, it is dropped. What is lost on
standard output may be, so it raises `OutputLost`; to whom it matters is the command's own knowledge.
"""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any


class OutputLost(Exception):
    """Standard output cannot be written. The text says why; `unread` where its reader went away, as `head` does."""

    def __init__(self, error: OSError):
        super().__init__(f"cannot write to standard output: {error.strerror or error}")
        self.unread = error.errno == errno.EPIPE


class Stream:
    """A text stream, or the bytes beneath it, that tells `lost` of an error and is written to no more.

    Args:
        raw: sys.stdout, sys.stderr, or the buffer of one of them.
        lost: told of the first OSError.
    """

    def __init__(self, raw: Any, lost: Callable[[OSError], None]):
        self.raw, self.lost, self.failed = raw, lost, False

    def write(self, text: Any) -> int:
        """Write it; how much was written. What the stream has no letters for, such as in names of files, is escaped."""
        try:
            return self._tried(lambda: self.raw.write(text)) or 0
        except UnicodeEncodeError:
            plain = text.encode(self.raw.encoding, "backslashreplace").decode(self.raw.encoding)
            return self._tried(lambda: self.raw.write(plain)) or 0

    def writelines(self, lines: Any) -> None:
        """Write them."""
        self._tried(lambda: self.raw.writelines(lines))

    def flush(self) -> None:
        """Write what is held back."""
        self._tried(self.raw.flush)

    @property
    def buffer(self) -> "Stream":
        """The bytes beneath."""
        return Stream(self.raw.buffer, self.lost)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    def _tried(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except OSError as error:
            # what Python still holds back would fail once more at its end, and spoil the exit status
            with contextlib.suppress(OSError), open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self.raw.fileno())
            self.failed = True
            self.lost(error)


def hold_places() -> None:
    """Let nothing else be opened in the place of a standard stream that is closed, and be written to as such."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


@contextlib.contextmanager
def open_streams() -> Iterator[None]:
    """In this block what is written to standard error is dropped where it cannot be, and standard output raises.

    Raises:
        OutputLost: from whatever writes to standard output, if it cannot be written.
    """

    def raising(error: OSError) -> None:
        raise OutputLost(error)

    before = sys.stdout, sys.stderr
    nowhere = open(os.devnull, "w", encoding="utf-8") if None in before else None  # noqa: SIM115
    with nowhere or contextlib.nullcontext():
        sys.stdout = Stream(before[0] or nowhere, raising)  # pyrefly: ignore[bad-assignment]
        sys.stderr = Stream(before[1] or nowhere, lambda error: None)  # pyrefly: ignore[bad-assignment]
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


def say(line: str) -> None:
    """Say what went wrong: on standard error, or where that cannot be written on standard output."""
    print(line, file=sys.stderr, flush=True)
    if getattr(sys.stderr, "failed", False):
        with contextlib.suppress(OutputLost):
            print(line, flush=True)
