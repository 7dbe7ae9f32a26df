"""SIGINT and SIGTERM: finish the step, keep what there is, then leave with the right status."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Stop:
    """Whether a signal asked to stop, and which; call it for the first, read `.status` for the second."""

    signal: int | None = None

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.signal is not None

    @property
    def status(self) -> int:
        """The exit status by the shell's convention: 130 or 143."""
        return 128 + (self.signal or 0)


@contextlib.contextmanager
def stopping(at_once: bool = False) -> Iterator[Stop]:
    """While this is open, the first SIGINT or SIGTERM is noted, and a second stops at once.

    `at_once`: the first raises KeyboardInterrupt too, for what has nothing to finish.
    """
    stop = Stop()

    def note(number: int, frame: FrameType | None) -> None:
        stop.signal = number
        for each in before:
            signal.signal(each, before[each])
        if at_once:
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number in before:
            signal.signal(number, before[number])
