"""Columns of numbers among which a few words stand: they are read as categories, which is said with what to do."""

import json
import shlex
from collections.abc import Collection, Mapping

import polars as pl

from gatewise.data.columns import as_numbers
from gatewise.wording import shown

FEW = 0.2
"""Words are strays where at most this share of the values that are there are words."""
DIFFERENT = 3
"""Different words that are strays, at most; and different numbers that make a column one of numbers, at least."""

Strays = Mapping[str, Mapping[str, int]]
"""By the names of columns: the words, and how many rows have each."""


def stray_words(column: pl.Series, decimal: str | None) -> dict[str, int]:
    """The words in a String column that is nearly all numbers, with the rows of each; empty for any other column."""
    known = column.drop_nulls()
    numbers = as_numbers(known, decimal)
    words = known.filter(numbers.is_null())
    rare = 0 < len(words) <= FEW * len(known) and words.n_unique() <= DIFFERENT
    if not rare or numbers.drop_nulls().n_unique() <= DIFFERENT:
        return {}
    return {str(word): int((words == word).sum()) for word in sorted(words.unique())}


def said_of_strays(strays: Strays, used: Collection[str], missing: Collection[str]) -> str | None:
    """A sentence on the columns among those used that are categories for a few words; None where there are none.

    Args:
        strays: of the rows.
        used: columns that the model uses.
        missing: the texts that were read as missing values.
    """
    found = {column: words for column, words in strays.items() if column in used}
    if not found:
        return None
    told = "; ".join(f"{shown(column)} ({_counted(words)})" for column, words in found.items())
    texts = list(dict.fromkeys([*missing, *(word for words in found.values() for word in words)]))
    setting = shlex.quote(f"missing={json.dumps(texts, ensure_ascii=False)}")
    return (
        f"Read as categories, as not all values are numbers: {told}. Where such a word stands for a missing value, "
        f"train with --set {setting}."
    )


def _counted(words: Mapping[str, int]) -> str:
    return ", ".join(f"{shown(word)} in {count} row{'s' * (count > 1)}" for word, count in words.items())
