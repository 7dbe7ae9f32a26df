"""`gatewise config`."""

from typing import Annotated

import typer

from gatewise.config.template import config_text


def config(
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY]…", help="Keys to explain; default: all, as a file.")
    ] = None,
) -> None:
    """Print a configuration file with every key, what it means, what it takes, and its default.

    Example: gatewise config > run.toml && gatewise train --config run.toml
    """
    typer.echo(config_text(keys or ()), nl=False)
