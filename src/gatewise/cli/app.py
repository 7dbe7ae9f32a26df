"""The door: which commands there are, and what becomes of a mistake.

Exit status: 0 done; 2 the user's input is at fault (one line); 1 our fault, or a cell of a comparison failed; 130 and
143 stopped by SIGINT and SIGTERM.
"""

import os
import sys
import time
from collections.abc import Sequence

import typer

from gatewise import __version__
from gatewise.cli.audit import audit
from gatewise.cli.compare import compare
from gatewise.cli.config import config
from gatewise.cli.doctor import doctor
from gatewise.cli.estimators import estimators
from gatewise.cli.evaluate import evaluate
from gatewise.cli.export import export
from gatewise.cli.predict import predict
from gatewise.cli.report import report
from gatewise.cli.settings import as_setting
from gatewise.cli.train import train
from gatewise.distributed import LostProcess, is_leader
from gatewise.errors import GatewiseError

# the base of all that typer says of a command line: click's class in older releases, typer's own in newer ones
UsageProblem = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="gatewise",
    help="Train and audit mixtures of deep experts whose choice is discrete and unobserved.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (train, evaluate, predict, audit, compare, report, export, estimators, config, doctor):
    app.command(name=command.__name__)(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gatewise {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


PATIENCE = 60.0
"""Seconds that the first of several processes has to say what all have found wrong; torchrun then ends the others."""


def _complain(message: str) -> int:
    if not is_leader():
        time.sleep(PATIENCE)
    if message:  # there is none where the help was shown instead
        print(f"gatewise: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _run(words: Sequence[str]) -> int | None:
    """Run a command; a flag that is none of its own may be a key of the configuration, where it takes --set."""
    given, settable = list(words), words[:1] and words[0] in (each.__name__ for each in (train, audit, compare))
    while True:
        try:
            return app(args=given, obj=words, standalone_mode=False)
        except UsageProblem as error:  # before anything ran
            changed = as_setting(given, getattr(error, "option_name", "")) if settable else None
            if changed is None:
                raise
            given = changed


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = _run(words)
    except GatewiseError as error:
        status = _complain(str(error))
    except LostProcess as error:
        print(f"gatewise: {error}", file=sys.stderr)
        status = 1
    except UsageProblem as error:
        status = _complain(error.format_message())
    except (KeyboardInterrupt, typer.Abort):
        if is_leader():
            print("gatewise: stopped", file=sys.stderr)
        status = 130
    except BrokenPipeError:
        # the reader of our output went away, as `head` does: not an error, and nothing more to flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)
