"""Start-up: what needs no torch does not import it."""

import importlib
import inspect
import json
import subprocess
import sys

import pytest

from gatewise.cli.app import COMMANDS

CODE = """
import contextlib, io, json, sys
from gatewise.cli.app import run
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    status = run(sys.argv[1:])
print(json.dumps([status, sorted(HEAVY & {*sys.modules})]))
"""
HEAVY = ("torch", "sklearn", "scipy", "polars", "pyarrow", "matplotlib", "pandas")


def imported(*words):
    """The exit status of a command in a process of its own, and the slow packages that it has imported."""
    code = CODE.replace("HEAVY", repr({*HEAVY}))
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("words", "status"), [(["--help"], 0), (["--version"], 0), (["trian"], 2), (["--wrong"], 2), ([], 2)]
)
def test_what_needs_no_torch_does_not_import_it(words, status):
    assert imported(*words) == [status, []]


def test_what_needs_torch_is_seen_to_import_it():
    """So that the test above can fail."""
    assert "torch" in imported("doctor")[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name):
    function = getattr(importlib.import_module(f"gatewise.cli.{name}"), name)
    assert " ".join(inspect.getdoc(function).split("\n\n")[0].split()) == COMMANDS[name]
