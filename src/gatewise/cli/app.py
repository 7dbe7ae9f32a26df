"""The door: which commands there are, and what becomes of a mistake.

Exit status: 0 done; 2 the user's input is at fault (one line); 1 our fault, a cell of a comparison failed, or standard
output could not be written; 130, 143 and 129 stopped by SIGINT, SIGTERM and SIGHUP.
"""

import sys
import time
from collections.abc import Sequence

import typer

from gatewise import __version__
from gatewise.cli.audit import audit
from gatewise.cli.compare import compare
from gatewise.cli.config import config
from gatewise.cli.console import forget_impossible_sizes
from gatewise.cli.doctor import doctor
from gatewise.cli.estimators import estimators
from gatewise.cli.evaluate import evaluate
from gatewise.cli.export import export
from gatewise.cli.predict import predict
from gatewise.cli.report import report
from gatewise.cli.settings import as_setting, flag_meant
from gatewise.cli.stopping import stop
from gatewise.cli.streams import OutputLost, open_streams, say
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


def run(words: Sequence[str]) -> int:
    """Run a command line, say what went wrong with it, and return its exit status."""
    stop.raises = True
    forget_impossible_sizes()
    try:
        with open_streams():
            try:
                return _invoked(list(words))
            except OutputLost as lost:
                return 0 if lost.unread else _complain(str(lost), 1)
            except GatewiseError as error:
                return _complain(str(error))
            except LostProcess as error:
                return _complain(str(error), 1)
            except UsageProblem as error:
                return _complain(error.format_message())
            except OSError as error:
                if stop() or error.filename is None:
                    raise
                return _complain(f"{error.filename}: {error.strerror}; check the path and its permissions")
    except BaseException:
        # whatever a stop has become on its way through other people's code
        if not stop():
            raise
    return stop.said()


def _invoked(words: list[str]) -> int:
    """The exit status of a command; everything that it has to say is written when this returns.

    A flag that is none of its own may be a key of the configuration, where it takes --set.
    """
    door = typer.main.get_command(app)
    given, settable = words, words[:1] and words[0] in (each.__name__ for each in (train, audit, compare))
    while True:
        try:
            # not by typer's own `main`, which has ways of its own with signals and closed pipes
            with door.make_context("gatewise", given[:], obj=words) as context:
                status = door.invoke(context)
            break
        except typer.Exit as ended:
            status = ended.exit_code
            break
        except UsageProblem as error:  # before anything ran
            flag = getattr(error, "option_name", "")
            changed = as_setting(given, flag) if settable else None
            if changed is None and settable and (meant := flag_meant(flag)):
                raise GatewiseError(f"no such option: {flag}; did you mean {meant!r}?") from None
            if changed is None:
                raise
            given = changed
    sys.stdout.flush()
    return status or 0


def _complain(message: str, status: int = 2) -> int:
    if not is_leader():
        time.sleep(PATIENCE if status == 2 else 0)
    if message:  # there is none where the help was shown instead
        say(f"gatewise: {' '.join(message.split())}")
    return status
