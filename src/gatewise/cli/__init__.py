"""The command line: one command a module; `gatewise --help` lists them."""

import sys
from collections.abc import Sequence

from gatewise.cli.stopping import stop


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    with stop.heard(to_the_end=arguments is None):
        from gatewise.cli.streams import hold_places

        hold_places()
        from gatewise.cli.app import run  # this takes seconds, in which a signal is heard already

        stop.ended = status = run(sys.argv[1:] if arguments is None else arguments)
    sys.exit(status)


__all__ = ["main"]
