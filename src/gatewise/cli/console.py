"""The screen: text as it is, without markup."""

from rich.console import Console


def console(stderr: bool = False) -> Console:
    """The screen for results, or for progress on standard error: file names may hold brackets, so no markup."""
    return Console(stderr=stderr, markup=False, highlight=False)
