"""SIGINT, SIGTERM and SIGHUP, at any moment of any command: one line, the status of the shell, and no half file.

What a signal does depends on what it would interrupt. While the program is still being imported the process just ends:
there is nothing to tidy, and an exception would come out in the middle of somebody's module. Then it raises
KeyboardInterrupt, so that every block leaves things tidy. What has to finish something first asks to have it `noted`.
A second signal ends the process in any case.
"""

import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Iterator

from gatewise import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, NoReturn

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stop:
    """Whether a signal asked to stop, and which; call it for the first, read `.status` for the second."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.raises = self.notes = False
        self.ended: int | None = None

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.signal is not None

    @property
    def status(self) -> int:
        """The exit status by the shell's convention: 130, 143 or 129."""
        return 128 + (self.signal or signal.SIGINT)

    @contextlib.contextmanager
    def heard(self, to_the_end: bool) -> Iterator[None]:
        """Hear signals in this block; after it they do what they did before, or nothing more if the process ends."""
        self.__init__()
        try:
            before = self.listen()
        except ValueError:  # another thread hears none
            yield
            return
        unraisable, sys.unraisablehook = sys.unraisablehook, self._swallowed
        self._told_before = unraisable
        if to_the_end:  # the last thing that Python itself does; a signal would then end the process without a word
            atexit.register(lambda: [signal.signal(number, signal.SIG_IGN) for number in SIGNALS])
        try:
            yield
        finally:
            if not to_the_end:
                sys.unraisablehook = unraisable
                for number, handler in before.items():
                    signal.signal(number, handler)

    def listen(self) -> "dict[int, Any]":
        """Hear signals from here on; returns what they did before."""
        return {number: signal.signal(number, self._take) or signal.SIG_DFL for number in SIGNALS if _wanted(number)}

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """In this block a signal is only noted; what is done about it is the block's matter."""
        before, self.notes = self.notes, True
        try:
            yield
        finally:
            self.notes = before

    def said(self) -> int:
        """Say that the command was stopped; returns the exit status."""
        # each of several processes that torchrun started is stopped, and the first one speaks for all
        if os.environ.get("RANK", "0") == "0" or "TORCHELASTIC_RUN_ID" not in os.environ:
            with contextlib.suppress(OSError):
                os.write(2, b"gatewise: stopped\n")
        return self.status

    def leave(self) -> "NoReturn":
        """End the process here and now, with no file half written."""
        # imported here it would be in the middle of somebody's import; where it is not imported, no file was begun
        remove_parts = getattr(sys.modules.get("gatewise.files"), "remove_parts", None)
        if remove_parts is not None:
            remove_parts()
        if os.isatty(2) and os.environ.get("TERM", "dumb") != "dumb":
            with contextlib.suppress(OSError):
                os.write(2, b"\x1b[?25h")  # a progress bar hides the cursor
        os._exit(self.said())

    def _take(self, number: int, frame: "FrameType | None") -> None:
        if self.ended is not None:  # while Python takes itself down
            os._exit(self.ended)
        second, self.signal = self(), number
        if second or not (self.raises or self.notes):
            self.leave()
        if not self.notes:
            raise KeyboardInterrupt

    def _swallowed(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """What Python tells of an exception that nobody can catch, such as in `__del__`: a stop that would be lost."""
        if self() and issubclass(unraisable.exc_type, KeyboardInterrupt):
            self.leave()
        self._told_before(unraisable)


def _wanted(number: int) -> bool:
    """Whether a signal asks to stop: not where nohup has said that a terminal may go away."""
    return number in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(number) is not signal.SIG_IGN


stop = Stop()
"""Of this process, which has one command at a time."""
