"""The screen: text as it is, without markup, and a reader that goes away is not an error of ours."""

from rich.console import Console


class PlainConsole(Console):
    """A rich console that raises BrokenPipeError where rich would exit with status 1."""

    def on_broken_pipe(self) -> None:
        """Leave it to the caller, which knows whether there is something to finish first."""
        raise BrokenPipeError


def console(stderr: bool = False) -> PlainConsole:
    """The screen for results, or for progress on standard error: file names may hold brackets, so no markup."""
    return PlainConsole(stderr=stderr, markup=False, highlight=False)
