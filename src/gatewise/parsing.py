"""JSON and TOML that may come from a stranger: what a text would take is bounded before it is read."""

import json
import re
import tomllib
from collections.abc import Callable, Iterable
from typing import Any

MOST = 512 * 2**20
"""Bytes that the values of one text may take."""
DEEPEST = 32
"""Objects and lists within each other."""
LARGEST_TOML = 2**20
"""Characters of a TOML text, which is read a hundred times slower than JSON."""
DOTTED = re.compile(r"""(?<![\w-])(?:[\w-]+|"[^"\n]*"|'[^'\n]*')(?:[ \t]*\.[ \t]*(?:[\w-]+|"[^"\n]*"|'[^'\n]*')){16}""")
"""A key of more parts than any of ours; tomllib keeps each part of it with all that stand before."""
HALF_A_PAIR = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: in one line: if it is no JSON, takes more than `MOST` bytes, is nested deeper than `DEEPEST`, or has
            a whole number that takes more than 64 bits or text that is no Unicode.
    """
    check_values(text)
    return _parsed(json.loads, text)


def parse_toml(text: str) -> dict[str, Any]:
    """The keys of a TOML text: see `parse_json`.

    Raises:
        ValueError: also for a text beyond `LARGEST_TOML`.
    """
    if len(text) > LARGEST_TOML:
        raise ValueError(f"it has {len(text)} characters, and such a text has {LARGEST_TOML} at most")
    if DOTTED.search(text):
        raise ValueError("a key of more than 16 parts")
    check_values(text)
    return _parsed(tomllib.loads, text)


def check_values(text: str) -> None:
    """Refuse by a ValueError what would take more than `MOST` bytes, by the marks that every value has."""
    objects, entries, values = text.count("{") + text.count("["), text.count(":") + text.count("="), text.count(",")
    if 64 * objects + 100 * entries + 32 * (values + text.count("\n")) > MOST:
        raise ValueError(f"its values would take more than {MOST // 2**20} MiB of memory")


def _parsed(parse: Callable[[str], Any], text: str) -> Any:
    try:
        value = parse(text)
        _check(value)
        if HALF_A_PAIR.search(text):
            json.dumps(value, ensure_ascii=False, default=str).encode()
    except RecursionError:
        raise ValueError(f"nested deeper than {DEEPEST} levels") from None
    except UnicodeEncodeError:
        raise ValueError("text that is no Unicode: half of a surrogate pair") from None
    return value


def _check(value: Any) -> None:
    """Level by level, as what walks down a value that is nested deep runs out of its stack."""
    level: list[Any] = [[value]]
    for _ in range(DEEPEST + 1):
        inner: list[Any] = []
        for each in level:
            children = each.values() if type(each) is dict else each
            kinds = {*map(type, children)}  # at once, as there may be millions
            if int in kinds:
                _check_whole(child for child in children if type(child) is int)
            if dict in kinds or list in kinds:
                inner += (child for child in children if type(child) in (dict, list))
        if not inner:
            return
        level = inner
    raise ValueError(f"nested deeper than {DEEPEST} levels")


def _check_whole(numbers: Iterable[int]) -> None:
    for number in numbers:
        if not -(2**63) <= number < 2**63:
            raise ValueError(f"a whole number of {len(str(abs(number)))} digits, which no 64 bits hold")
