"""The command line: one command a module; `gatewise --help` lists them."""

from gatewise.cli.app import main

__all__ = ["main"]
