"""Configurations from TOML, from flags and from what stands behind an estimator's name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatewise import objectives
from gatewise.config.run import BadKey, RunConfig
from gatewise.errors import GatewiseError, check_kind
from gatewise.files import read_text
from gatewise.parsing import parse_toml
from gatewise.wording import shown


def read_toml(path: Path) -> dict[str, Any]:
    """The keys of a TOML file.

    Raises:
        GatewiseError: if it cannot be read.
    """
    try:
        return parse_toml(read_text(path))
    except OSError as error:
        raise GatewiseError(f"cannot read the configuration {path}: {error.strerror}") from None
    except GatewiseError:
        raise
    except ValueError as error:
        raise GatewiseError(f"{path} is not TOML: {error}") from None


def parse_value(text: str) -> Any:
    """A value as TOML where it reads as TOML, else as text."""
    try:
        return parse_toml(f"value = {text}")["value"]
    except ValueError:
        return text


def load_config(keys: dict[str, Any], where: Mapping[str, str] | None = None) -> RunConfig:
    """Check keys and make them a `RunConfig`.

    Args:
        keys: name to value.
        where: what messages call the source of a key; "the configuration" where it is not told.

    Raises:
        GatewiseError: for the first key that is unknown or has a bad value.
    """
    check_kind(keys, Mapping, "keys", 'give names and values, as in {"data": "iris"}; a file is read by tomllib.load')
    where = where or {}
    try:
        return RunConfig(**keys)
    except BadKey as bad:
        raise GatewiseError(bad.of(where.get(bad.key, "the configuration"))) from None


def parse_estimator(text: str) -> tuple[str, dict[str, Any]]:
    """`NAME:KEY=VALUE:KEY=VALUE` as the name and its options, their values as TOML where they read as such.

    Raises:
        GatewiseError: for an unknown name, or text of another form.
    """
    check_kind(text, str, "an estimator here", "write it as NAME:KEY=VALUE, such as 'score-function:samples=2'")
    name, *pieces = text.strip().split(":")
    if "=" in name:
        raise GatewiseError(
            f"{shown(name)} is no estimator; options follow their estimator after a colon, such as "
            "score-function:baseline=leave-one-out:samples=2"
        )
    objectives.estimator_options(name)
    given: dict[str, str] = {}
    for piece in pieces:
        key, equals, value = piece.partition("=")
        if equals and key and key not in given:
            given[key] = value
        elif equals or not given:
            twice = f"{key} is given twice" if key in given else f"{shown(piece)} is no KEY=VALUE"
            raise GatewiseError(f"{text}: {twice}; write NAME:KEY=VALUE, such as gumbel-softmax:temperature=0.5")
        else:
            given[next(reversed(given))] += f":{piece}"
    empty = [key for key, value in given.items() if not value]
    if empty:
        raise GatewiseError(f"{text}: {empty[0]} has no value; write {name}:{empty[0]}=VALUE")
    return name, {key: parse_value(value) for key, value in given.items()}
