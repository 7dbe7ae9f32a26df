"""The command line: `gatewise train | evaluate | predict | audit | compare | report | export | estimators`."""

from gatewise.cli.app import main

__all__ = ["main"]
