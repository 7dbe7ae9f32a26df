"""The command line: `gatewise train | evaluate | predict | audit | compare | export | estimators`."""

from gatewise.cli.app import main

__all__ = ["main"]
