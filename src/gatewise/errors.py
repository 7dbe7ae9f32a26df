"""Exceptions that a user is told in one line, and the checks of arguments that raise the first of them."""

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import NoReturn, TypeVar

from gatewise.wording import instead

Wanted = TypeVar("Wanted")


class GatewiseError(ValueError):
    """The user's input is at fault.

    The message is one line: what was wrong, where, and what to do. The command line prints it and exits
    with status 2. Anything else that escapes is a fault of ours.

    >>> import gatewise as gw
    >>> gw.estimators.get("gumble-softmax")
    Traceback (most recent call last):
        ...
    gatewise.errors.GatewiseError: unknown estimator 'gumble-softmax'; did you mean 'gumbel-softmax'?
    """


class LostProcess(RuntimeError):
    """Another process of the training has ended, so that this one cannot go on."""


def undefined(thing: object, method: str) -> NoReturn:
    """Raises TypeError in a method of a base class that its subclasses have to define."""
    raise TypeError(f"{type(thing).__name__} does not define {method}")


def check_kind(value: object, kind: type, name: str, advice: str) -> None:
    """Raises GatewiseError for an argument that is something else, with how to make what is wanted."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise GatewiseError(f"{name} must be {article} {kind.__name__}, got {type(value).__name__}; {advice}")


def check_callable(value: object, name: str, advice: str) -> None:
    """Raises GatewiseError for an argument that cannot be called, with how to make what is wanted."""
    if not callable(value):
        raise GatewiseError(f"{name} must be a function, got {type(value).__name__}; {advice}")


def check_choice(value: object, choices: Iterable[str], what: str, whose: str = "") -> None:
    """Raises GatewiseError for a value that is none of the choices, with the nearest of them, and whose it is.

    >>> check_choice("sparsmax", ["softmax", "sparsemax"], "gate map")
    Traceback (most recent call last):
    gatewise.errors.GatewiseError: unknown gate map 'sparsmax'; did you mean 'sparsemax'?
    """
    if value not in (known := list(choices)):
        raise GatewiseError(f"{whose}{': ' * bool(whose)}unknown {what} {value!r}{instead(str(value), known)}")


def check_interval(value: object, interval: str, name: str, advice: str = "", whole: bool = False) -> None:
    """Raises GatewiseError for no number in an interval such as "[0, 1)" or "(0, inf)"; true and false are no numbers.

    >>> check_interval(1.5, "[0, 1)", "decay")
    Traceback (most recent call last):
    gatewise.errors.GatewiseError: decay must be a number in [0, 1), got 1.5
    >>> check_interval(0, "[1, inf)", "k", "leave it out for all", whole=True)
    Traceback (most recent call last):
    gatewise.errors.GatewiseError: k must be a whole number of at least 1, got 0; leave it out for all
    """
    low, high = map(float, interval[1:-1].split(","))
    number = isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
    above = number and (low < value if interval[0] == "(" else low <= value)  # pyrefly: ignore[unsupported-operation]
    if above and (value < high if interval[-1] == ")" else value <= high):  # pyrefly: ignore[unsupported-operation]
        return
    kind = f"a {'whole ' * whole}number"
    if math.isinf(high):
        wanted = kind if math.isinf(low) else f"{kind} {'above' if interval[0] == '(' else 'of at least'} {low:g}"
    else:
        wanted = f"{kind} in {interval}"
    raise GatewiseError(f"{name} must be {wanted}, got {value!r}" + f"; {advice}" * bool(advice))


def check_kinds(values: Iterable[Wanted], kind: type[Wanted], name: str, advice: str) -> list[Wanted]:
    """The values as a list; raises GatewiseError where they are one value and no list, or one is something else."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise GatewiseError(f"{name} must be a list, got {type(values).__name__}; {advice}")
    made = list(values)
    for value in made:
        check_kind(value, kind, f"each of {name}", advice)
    return made
