"""Pieces of error messages: a value, a list of names, the nearest name."""

import difflib
from collections.abc import Iterable, Sequence


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
