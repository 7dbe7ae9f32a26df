"""The command line: `gatewise train | evaluate | predict | estimators`."""

from gatewise.cli.app import main

__all__ = ["main"]
