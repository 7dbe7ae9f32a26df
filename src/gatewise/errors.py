"""The one exception that means: the input is at fault, and this line says how to mend it."""


class GatewiseError(ValueError):
    """The user's input is at fault.

    The message is one line: what was wrong, where, and what to do. The command line prints it and exits
    with status 2. Anything else that escapes is a fault of ours.
    """
