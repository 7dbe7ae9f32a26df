"""The configuration as a TOML file with comments: every key, what it means, what it takes, its default.

Made from the fields of `RunConfig` and from the registries, so that it says what `gatewise train --config` takes.
"""

import textwrap
import types
from collections.abc import Iterable, Iterator
from typing import Any, Literal, Union, get_args, get_origin

import tomli_w
from pydantic.fields import FieldInfo

from gatewise import estimators, objectives
from gatewise.config.run import LoopConfig, RunConfig, key_instead
from gatewise.errors import GatewiseError
from gatewise.mixture.heads import HEADS

WIDTH = 104
HEADINGS = {
    "data": "The data",
    "start_from": "The model",
    "objective": "What is maximised, and its gradient",
    "audit_every": "While it trains",
    "epochs": "The training loop",
}
"""What stands before a key, where a new subject begins."""

TOP = """\
# Everything that a run is made from, with the defaults. What you leave out stays as it is here.
#
#     gatewise train --config run.toml
#
# A line like #key = value, without a space after the mark, is an unset key with a value it could have.
# Flags and --set on the command line win over this file."""

KINDS = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("text in quotes", "texts in quotes"),
    bool: ("true or false", ""),
    Any: ("any value", "any values"),
}
BOUNDS = (("ge", "from {}"), ("gt", "above {}"), ("le", "to {}"), ("lt", "below {}"))


def names_for(key: str) -> list[str]:
    """The names that a key takes from a registry; none for the other keys."""
    if key == "objective":
        return objectives.names()
    if key == "estimator":
        own = {name for objective in objectives.names() for name in objectives.named(objective).own_estimators.names()}
        return sorted({*estimators.names(), *own})
    if key == "head":
        return HEADS.names()
    return list(objectives.REGULARISERS) if key == "regulariser" else []


def fields() -> dict[str, FieldInfo]:
    """The fields of a run, those of the loop last."""
    own = RunConfig.model_fields
    return {key: own[key] for key in sorted(own, key=lambda key: key in LoopConfig.model_fields)}


def config_text(keys: Iterable[str] = (), data: str = "digits") -> str:
    """The commented file, or of some keys alone what it says of them.

    Args:
        keys: some of the keys; none for all, with headings.
        data: what the key `data` has, which alone has no default.

    Raises:
        GatewiseError: for a key that there is not.
    """
    known, wanted = fields(), list(keys)
    for key in wanted:
        if key not in known:
            raise GatewiseError(f"there is no key {key!r} in a configuration{key_instead(key, RunConfig.model_fields)}")
    parts = [] if wanted else [TOP]
    for key in wanted or known:
        if not wanted and key in HEADINGS:
            parts.append(f"# ---- {HEADINGS[key]} ----")
        parts.append("\n".join(entry(key, known[key], data)))
    return "\n\n".join(parts) + "\n"


def entry(key: str, field: FieldInfo, data: str) -> Iterator[str]:
    """The lines of one key: what it means, what it takes, and the key itself."""
    said = f"{field.description}.".replace("..", ".")
    yield from comment(said[0].upper() + said[1:])
    yield from comment(f"Takes {taken(key, field)}.")
    if field.is_required():
        yield f"{key} = {written(data)}"
    elif field.default is None:
        yield f"#{key} = {written(example(key, field))}"
    else:
        yield f"{key} = {written(field.default)}"


def comment(text: str) -> list[str]:
    """The text in lines that begin with a mark and a space."""
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def taken(key: str, field: FieldInfo) -> str:
    """What values a key takes, in words."""
    named = names_for(key)
    alternatives = [part for part in _parts(field.annotation) if part is not type(None)]
    bounds = " ".join(
        words.format(f"{getattr(bound, name):g}" if getattr(bound, name) < 1e6 else getattr(bound, name))
        for name, words in BOUNDS
        for bound in field.metadata
        if hasattr(bound, name)
    )
    said = " or ".join(f"{_kind(part, named)} {bounds}".strip() for part in alternatives)
    return said if field.default is not None else f"{said}; unset by default"


def _parts(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _kind(kind: Any, named: list[str]) -> str:
    """One type in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        shown = [written(value) for value in inner]
        return shown[0] if len(shown) == 1 else f"one of {', '.join(shown)}"
    if origin is list:
        return f"a list of {KINDS[inner[0]][1]}"
    if origin is dict:
        values = " or ".join(KINDS[part][1] for part in _parts(inner[1]))
        return f"a table of {values}" + (f" for {', '.join(named)}" if named else "")
    return f"one of {', '.join(map(written, named))}" if named else KINDS[kind][0]


def example(key: str, field: FieldInfo) -> Any:
    """A value for a key that is unset: the first example of the field, or the first choice that it has."""
    if field.examples:
        return field.examples[0]
    choices = [value for part in _parts(field.annotation) for value in get_args(part) if get_origin(part) is Literal]
    return next(iter([*choices, *names_for(key)]), True)


def written(value: Any) -> str:
    """A value as TOML on one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_key(name)} = {written(one)}' for name, one in value.items())}}}"
    return tomli_w.dumps({"value": value}).removeprefix("value = ").rstrip("\n")


def _key(name: str) -> str:
    """A key as TOML, in quotes where it needs them."""
    return tomli_w.dumps({name: 0}).removesuffix(" = 0\n")
