"""An estimator with its options, as it is written on the command line.

Options follow the name, each after a colon, for commas separate estimators: `score-function:baseline=leave-one-out`,
`gumbel-softmax:temperature=exponential:1:0.3`. A piece without an equals sign goes on with the value before it, so a
schedule keeps its own colons. `samples=2` says how many samples.
"""

from typing import Any

from gatewise import objectives
from gatewise.config.run import parse_value
from gatewise.errors import GatewiseError, check_kind
from gatewise.wording import shown


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
