"""The door: which commands there are, and what becomes of a mistake.

Exit status: 0 done; 2 the user's input is at fault (one line); 1 our fault, a cell of a comparison failed, or standard
output could not be written; 130, 143 and 129 stopped by SIGINT, SIGTERM and SIGHUP.
"""

import importlib
import sys
import time
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from gatewise import __version__
from gatewise.cli.console import forget_impossible_sizes
from gatewise.cli.stopping import stop
from gatewise.cli.streams import OutputLost, open_streams, say
from gatewise.distributed.launch_env import is_leader
from gatewise.errors import GatewiseError, LostProcess

# the base of all that typer says of a command line: click's class in older releases, typer's own in newer ones
UsageProblem = typer.BadParameter.__mro__[2]

COMMANDS = {
    "train": "Train a mixture of experts on DATA and write a run folder.",
    "evaluate": "Measure a trained run on its test rows, or on DATA.",
    "predict": "Write the predicted label, the probability of every class, and the gate's expert for each row of DATA.",
    "audit": "Measure how far every gradient estimator is from the exact gradient, on a trained RUN or on DATA before "
    "training.",
    "compare": "Train each objective with each estimator over several seeds on the same DATA, and compare them.",
    "report": "Write RUN/report.html anew from the files of the run folder, or one page that compares several runs.",
    "export": "Write a trained run as one file that runs without gatewise: prepared inputs in, class probabilities "
    "out.",
    "estimators": "List the gradient estimators and the facts that each states, or explain one.",
    "config": "Print a configuration file with every key, what it means, what it takes, and its default.",
    "doctor": "Print versions, devices and threads, and what is missing with the command that brings it.",
}
"""The commands, each a function of its name in a module of its name, and the first line of its docstring."""


class Commands(TyperGroup):
    """Commands that are imported when they run: what needs no torch does not wait seconds for it."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """The command that is called; `get_command`, which the list of commands is made from, knows its name alone."""
        name, found, rest = super().resolve_command(ctx, args)
        if found is None:
            return name, found, rest
        alone = typer.Typer(add_completion=False, rich_markup_mode="rich")
        alone.command(name=name)(getattr(importlib.import_module(f"gatewise.cli.{name}"), str(name)))
        stop.raises = True  # from here on: in an import an exception would come out in the middle of somebody's module
        return name, typer.main.get_command(alone), rest


app = typer.Typer(
    cls=Commands,
    name="gatewise",
    help="Train and audit mixtures of deep experts whose choice is discrete and unobserved.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command, line in COMMANDS.items():
    app.command(name=command, help=line)(lambda: None)


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
    given, settable = words, words[:1] and words[0] in ("train", "audit", "compare")
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
            if not settable:
                raise
            from gatewise.cli.settings import as_setting, flag_meant

            flag = getattr(error, "option_name", "")
            changed = as_setting(given, flag)
            if changed is None and (meant := flag_meant(flag)):
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
