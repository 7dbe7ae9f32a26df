"""Naming what a person probably meant."""

import difflib
from collections.abc import Iterable


def nearest(given: str, known: Iterable[str]) -> str:
    """The end of a sentence: the nearest known name if one is close, else all of them."""
    known = list(known)
    close = difflib.get_close_matches(given, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; choose one of {', '.join(known)}"
