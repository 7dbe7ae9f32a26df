"""Words of errors, numbers and findings, for pages and terminal alike."""

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

NONE = "–"

UNPRINTABLE = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u202a-\u202e\u2066-\u2069]")
"""What XML cannot hold, and what turns the direction of the text after it."""


def shown(value: object, width: int = 60) -> str:
    """The value in quotes, on one line and at most about `width` characters long."""
    return shortened(repr(str(value)), width)


def shortened(text: str, width: int = 60) -> str:
    """The text, at most about `width` characters long, with its last character kept."""
    return text if len(text) <= width else f"{text[: width - 4]}...{text[-1]}"


def listing(names: Sequence[str], limit: int = 10) -> str:
    """The names in quotes with commas between; beyond `limit` of them, the first ones and how many."""
    text = ", ".join(shown(name) for name in names[:limit])
    return text if len(names) <= limit else f"{text}, ... ({len(names)} in all)"


def nearest(name: str, names: Sequence[str]) -> str:
    """The words "did you mean ...? " where one of `names` is close to `name`, else nothing."""
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {shown(close[0])}? " if close else ""


def instead(given: str, known: Iterable[str]) -> str:
    """The end of a sentence that refuses a name: the nearest known one if one is close, else all of them."""
    known = list(known)
    return f"; {nearest(given, known).rstrip()}" if nearest(given, known) else f"; choose one of {', '.join(known)}"


@dataclass(frozen=True)
class Finding:
    """One sentence of the verdict; `level` says whether it is good news, bad news, or a fact."""

    level: Literal["good", "bad", "fact"]
    text: str


def number(value: float | None, digits: int = 3) -> str:
    """Rounded to `digits` places, in powers of ten where that would be unreadable; a dash for None."""
    if value is None:
        return NONE
    text = f"{value:.2e}" if abs(value) >= 1e6 else f"{value:,.{digits}f}"
    return text.replace("-", "−" if any(digit in text for digit in "123456789") else "")  # no 0 below 0


def measure(value: float | None) -> str:
    """Of any size, in units that are not ours: to about four figures, 0.123, 12.35, 396.2, 1,692."""
    size = 0.0 if value is None else abs(value)
    if 0 < size < 0.01:
        return f"{value:.2e}".replace("-", "−")
    return number(value, 3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0)


def percent(share: float | None) -> str:
    """A share of one in percent, to a tenth."""
    return NONE if share is None else f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def count(amount: float, noun: str, plural: str = "") -> str:
    """The amount and its noun: 1 row, 1,257 rows."""
    return f"{amount:,.0f} {noun if amount == 1 else plural or noun + 's'}"


def duration(seconds: float | None) -> str:
    """Seconds, minutes or hours."""
    if seconds is None:
        return "unknown time"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:,.1f} h"


def short(text: str, width: int) -> str:
    """The text on one line, with an ellipsis in its middle where it is longer than `width`: labels differ at ends."""
    line = " ".join(text.split())
    tail = width // 2
    return line if len(line) <= width else f"{line[: width - tail - 1]}…{line[-tail:]}"


def printable(text: str) -> str:
    """The text without control characters and lone surrogates, which no page can hold, or turns of direction."""
    return UNPRINTABLE.sub("\ufffd", text)


def listed(names: Sequence[str]) -> str:
    """Names with commas and an "and"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def setting(value: object) -> str:
    """A value of the configuration as TOML would write it, without quotes."""
    if value is None:
        return "not set"
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
