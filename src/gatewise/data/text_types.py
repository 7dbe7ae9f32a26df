"""Types of columns of text whose values all agree: true and false, codes, dates, times of day, durations.

Formats without types write these as text, each writer in its own way; formats with types have types for them. What they
mean is the same: true and false are 1 and 0, a duration is its seconds, and digits after a zero are a code, whose zeros
count.
"""

from collections.abc import Callable
from typing import Literal

import polars as pl

from gatewise.data.dates import DATE, ZONE, otherwise, read_dates, read_durations, read_times

TextType = Literal["truth", "code", "date", "time", "duration"]
TRUTH = {"true": 1.0, "false": 0.0}
INITIALS = {"t": 1.0, "f": 0.0}
"""As R reads and PostgreSQL writes them: true and false where a column has both, as one alone may be anything."""
WORD, TRUE_OR_FALSE = r"(?i)^(?:true|false)$", r"(?i)^(?:true|false|t|f|[01](?:\.0*)?)$"
CODE, DIGITS = r"^0[0-9]+$", r"^[0-9]+$"
EXAMPLES = 200
"""Values that are looked at before all are, and that tell in which other way dates are written."""


def read_truth(texts: pl.Series) -> pl.Series:
    """A String column as Float64: 1 for true, 0 for false, or their initials, in any case; null for anything else."""
    lower = texts.str.to_lowercase()
    return lower.replace_strict(TRUTH | INITIALS, default=None, return_dtype=pl.Float64)


def read_moments(texts: pl.Series, type: TextType, format: str | None = None) -> pl.Series:
    """A String column of dates or of times of day as such, null where a value is none."""
    return read_times(texts) if type == "time" else read_dates(texts, format)


class TypeEvidence:
    """What values of a column of text tell of their type, in parts.

    Args:
        format: how dates may be written besides ISO 8601.
    """

    def __init__(self, format: str | None = None):
        self.format = format
        self.open: dict[TextType, Callable[[pl.Series], bool]] = {
            "truth": lambda texts: _all(texts, TRUE_OR_FALSE),
            "code": lambda texts: _all(texts, DIGITS),
            "date": lambda texts: not read_dates(texts, format).has_nulls(),
            "time": lambda texts: not read_times(texts).has_nulls(),
            "duration": lambda texts: not read_durations(texts).has_nulls(),
        }
        self.words = self.zeros = self.zones = self.bare = False
        self.initials: set[str] = set()
        self.examples, self.example = pl.Series([], dtype=pl.String), ""

    def add(self, column: pl.Series) -> "TypeEvidence":
        """Take in a String column, of which nulls are missing."""
        texts = column.drop_nulls()
        if len(self.examples) < EXAMPLES:
            self.examples = self.examples.append(texts.head(EXAMPLES - len(self.examples)).rename(""))
        for part in (texts.head(EXAMPLES), texts):
            self.open = {name: agrees for name, agrees in self.open.items() if agrees(part)}
        if "truth" in self.open:
            self.words |= texts.str.contains(WORD).any()
            lower = texts.str.to_lowercase()
            self.initials |= {*lower.filter(lower.is_in([*INITIALS])).unique()}
        if "code" in self.open and not self.zeros:
            zeros = texts.filter(texts.str.contains(CODE))
            self.zeros, self.example = bool(len(zeros)), next(iter(zeros), self.example)
        if "date" in self.open:
            zones = texts.str.contains(ZONE) & texts.str.contains(DATE) & (texts.str.len_bytes() > 10)
            self.zones |= zones.any()
            self.bare |= not zones.all()
        return self

    @property
    def type(self) -> TextType | None:
        """What all values are; None where they are something else, or there are none."""
        if not len(self.examples):
            return None
        agreed = {
            "truth": self.words or len(self.initials) == 2,
            "code": self.zeros,
            "date": not (self.zones and self.bare),
        }
        return next((name for name in self.open if agreed.get(name, True)), None)

    @property
    def other_dates(self) -> list[str]:
        """In which other ways the first values may be dates; none where they are of a type."""
        return otherwise(self.examples) if self.type is None and len(self.examples) else []


def _all(texts: pl.Series, pattern: str) -> bool:
    return bool(texts.str.contains(pattern).all())
