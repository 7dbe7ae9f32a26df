"""Where the keys of a configuration come from: a TOML file, --set, and flags; the later wins."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gatewise.errors import GatewiseError
from gatewise.training.config import parse_value, read_toml


def gather(
    config: Path | None, settings: Sequence[str] | None, flags: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The keys, and for each what messages call its source.

    Args:
        config: a TOML file.
        settings: KEY=VALUE, as --set takes them.
        flags: by key; None where a flag was not given.

    Raises:
        GatewiseError: for a file that cannot be read, or a setting without an equals sign.
    """
    keys = read_toml(config) if config else {}
    where = dict.fromkeys(keys, str(config))
    given = dict(parse_setting(text) for text in settings or [])
    given |= {name: value for name, value in flags.items() if value is not None}
    return keys | given, where | dict.fromkeys(given, "the command line")


def take_folder(keys: dict[str, Any], where: Mapping[str, str]) -> str | None:
    """Take the key `out` away and return it.

    Raises:
        GatewiseError: if it is no text.
    """
    out = keys.pop("out", None)
    if out is not None and not isinstance(out, str):
        raise GatewiseError(f"{where['out']}: out: give the name of a folder, got {out!r}")
    return out


def parse_setting(text: str) -> tuple[str, Any]:
    """KEY=VALUE, with the value as TOML where it reads as TOML, else as text.

    Raises:
        GatewiseError: without an equals sign.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise GatewiseError(f"--set takes KEY=VALUE, such as --set lr=0.01, got {text!r}")
    return key, parse_value(value)
