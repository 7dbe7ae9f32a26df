"""Kinds of fields that the report reads, and lists of them as arrays."""

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict

from gatewise.wording import printable


def finite(value: object) -> float | None:
    """The number, or None for everything that is no finite number."""
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def as_array(values: Sequence) -> np.ndarray:
    """The numbers as float64, however nested, with NaN for None."""
    return np.array(values, dtype=float)


Number = Annotated[float | None, BeforeValidator(finite)]
Text = Annotated[str, BeforeValidator(lambda value: printable(value) if isinstance(value, str) else value)]


class Schema(BaseModel):
    """Some of what a file holds."""

    model_config = ConfigDict(frozen=True, strict=True)  # keys not named here pass: later versions add some
