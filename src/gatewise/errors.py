"""The one exception that means: the input is at fault, and this line says how to mend it."""


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
