"""The screen: text as it is, without markup."""

import os

from rich.console import Console

WIDEST = 10_000
"""Letters of a line, beyond which COLUMNS is no screen's."""


def console(stderr: bool = False) -> Console:
    """The screen for results, or for progress on standard error: file names may hold brackets, so no markup."""
    return Console(stderr=stderr, markup=False, highlight=False)


def forget_impossible_sizes() -> None:
    """Leave out of the environment what no screen is: rich takes COLUMNS=0 at its word, and has no letter on a line."""
    for name in ("COLUMNS", "LINES"):
        said = os.environ.get(name, "80")
        if not (said.isascii() and said.isdecimal() and len(said) < 6 and 0 < int(said) <= WIDEST):
            del os.environ[name]
