"""The columns of the target: one, or several with commas between their names."""

import csv
import io
from collections.abc import Sequence

from gatewise.errors import GatewiseError
from gatewise.wording import shown

RULE = "commas stand between several names; a name with a comma of its own goes in double quotes"


def names_of(target: str, what: str = "the target") -> list[str]:
    """The names in a text, which messages call `what`, that is written as a row of CSV is.

    Raises:
        GatewiseError: for quotes that do not close, a name that is missing, or one that is there twice.
    """
    if "," not in target and '"' not in target:
        return [target]
    try:
        names = [name.strip() for name in next(csv.reader(io.StringIO(target), skipinitialspace=True, strict=True), [])]
    except csv.Error as error:
        raise GatewiseError(f"{what} {shown(target)} cannot be read ({error}); {RULE}") from None
    if not all(names):
        raise GatewiseError(f"{what} {shown(target)} has a comma without a name beside it; {RULE}")
    for place, name in enumerate(names):
        if name in names[:place]:
            raise GatewiseError(f"{what} {shown(target)} names {shown(name)} twice; name it once")
    return names


def target_columns(target: str, columns: Sequence[str]) -> list[str]:
    """The columns that a target names: the one of exactly that name where there is one, else all in `names_of`."""
    return [target] if target in columns else names_of(target)


def joined(names: Sequence[str]) -> str:
    """The target that `names_of` reads as these names; a single name without comma and quote is itself."""
    return ",".join('"' + name.replace('"', '""') + '"' if set(name) & set(',"') else name for name in names)
