"""Keys of a configuration from a TOML file, from --set and from flags; the later wins."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gatewise.config.loading import parse_value, read_toml
from gatewise.config.run import RunConfig, key_meant
from gatewise.errors import GatewiseError

TEXTS = {key for key, field in RunConfig.model_fields.items() if field.annotation in (str, str | None, list[str])}
"""Keys whose values are texts."""
SWITCHES = {key for key, field in RunConfig.model_fields.items() if field.annotation in (bool, bool | None)}
"""Keys that are true or false."""


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


def take_names(keys: dict[str, Any], where: dict[str, str], key: str) -> list[str] | None:
    """Take names with commas between, or a list of them, out of the keys; None where there are none.

    Raises:
        GatewiseError: for anything else.
    """
    value = keys.pop(key, None)
    if value is None:
        return None
    listed = value.split(",") if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise GatewiseError(f"{where[key]}: {key}: give names with commas between them, got {value!r}")
    found = [name.strip() for name in listed]
    if not all(found):
        raise GatewiseError(f"{where[key]}: {key}: a name between the commas is missing in {value!r}")
    return found


def take_number(keys: dict[str, Any], where: dict[str, str], key: str) -> int | None:
    """Take a count out of the keys; None where there is none.

    Raises:
        GatewiseError: for anything but a whole number from 1.
    """
    value = keys.pop(key, None)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise GatewiseError(f"{where[key]}: {key}: give a whole number from 1, got {value!r}")
    return value


def parse_setting(text: str) -> tuple[str, Any]:
    """KEY=VALUE, with the value as TOML where it reads as TOML, else as text.

    Raises:
        GatewiseError: without an equals sign.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise GatewiseError(f"--set takes KEY=VALUE, such as --set lr=0.01, got {text!r}")
    # a column may be called 1 or true, and nan is a mark: TOML reads texts only where they are written as TOML's
    plain = key in TEXTS and not value.startswith(("[", '"', "'"))
    return key, value if plain else parse_value(value)


def as_setting(words: Sequence[str], flag: str) -> list[str] | None:
    """The words of a command with a flag that is a key of the configuration given by --set; None where it is no key.

    Args:
        words: such as train iris --lr 0.01.
        flag: such as --lr.

    Raises:
        GatewiseError: if the flag stands there without a value, or twice.
    """
    key = flag.lstrip("-").replace("-", "_")
    if not flag.startswith("--") or key not in RunConfig.model_fields:
        return None
    places = [place for place, word in enumerate(words) if word.partition("=")[0] == flag]
    if len(places) != 1:
        raise GatewiseError(f"{flag} is given twice; give it once (several values go with commas between them)")
    before, after = list(words[: places[0]]), list(words[places[0] + 1 :])
    _, equals, value = words[places[0]].partition("=")
    if not equals and key in SWITCHES and (not after or after[0] not in ("true", "false")):
        value = "true"
    elif not equals:
        if not after:
            raise GatewiseError(f"{flag} needs a value")
        value = after.pop(0)
    return [*before, "--set", f"{key}={value}", *after]


def flag_meant(flag: str) -> str | None:
    """The flag of the key that other software calls as this flag says, such as --lr for --learning-rate."""
    key = key_meant(flag.lstrip("-").replace("-", "_"))
    return None if key is None else f"--{key.replace('_', '-')}"
