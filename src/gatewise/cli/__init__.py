"""The command line: `gatewise train | evaluate | predict | compare | estimators`."""

from gatewise.cli.app import main

__all__ = ["main"]
