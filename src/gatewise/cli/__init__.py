"""The command line: `gatewise train | evaluate | predict | audit | compare | estimators`."""

from gatewise.cli.app import main

__all__ = ["main"]
