"""The one exception that means: the input is at fault, and this line says how to mend it."""

from collections.abc import Iterable
from numbers import Integral
from typing import TypeVar

Wanted = TypeVar("Wanted")


class GatewiseError(ValueError):
    """The user's input is at fault.

    The message is one line: what was wrong, where, and what to do. The command line prints it and exits
    with status 2. Anything else that escapes is a fault of ours.
    """


def check_kind(value: object, kind: type, name: str, advice: str) -> None:
    """Raises GatewiseError for an argument that is something else, with how to make what is wanted."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise GatewiseError(f"{name} must be {article} {kind.__name__}, got {type(value).__name__}; {advice}")


def check_number(value: object, name: str, advice: str) -> None:
    """Raises GatewiseError for what is no whole number, or true or false."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise GatewiseError(f"{name} must be a whole number, got {value!r}; {advice}")


def check_kinds(values: Iterable[Wanted], kind: type[Wanted], name: str, advice: str) -> list[Wanted]:
    """The values as a list; raises GatewiseError where they are one value and no list, or one is something else."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise GatewiseError(f"{name} must be a list, got {type(values).__name__}; {advice}")
    made = list(values)
    for value in made:
        check_kind(value, kind, f"each of {name}", advice)
    return made
