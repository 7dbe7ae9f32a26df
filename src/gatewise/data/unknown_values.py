"""Values of columns of categories that have no category in a model: they were rare in fitting, or are new."""

from collections import Counter

import numpy as np
import polars as pl

from gatewise.data.preprocessing.fit import Preprocessing
from gatewise.data.records import Records
from gatewise.wording import shown

NAMED = 3
"""Values that are named, the most frequent ones."""
KEPT = 1000
"""Different values of a column that are counted, the most frequent ones of each part."""


class UnknownValues:
    """Where there are such values, and which.

    Args:
        preprocessing: of the model.

    Attributes:
        rows: how many rows of each column have one.
        values: of these columns how many rows each value has.
    """

    def __init__(self, preprocessing: Preprocessing):
        self.preprocessing = preprocessing
        self.rows: Counter[str] = Counter()
        self.values: dict[str, Counter[str]] = {}

    def update(self, records: Records, x: np.ndarray) -> None:
        """Take in rows, with what `preprocessing` makes of them."""
        for name, found in self.preprocessing.unknown(x).items():
            self.rows[name] += int(found.sum())
            assert isinstance(records.features, pl.DataFrame)
            values = records.features[name].filter(pl.Series(found))
            # polars makes no text of a duration by a cast
            written = values.dt.to_string("iso") if values.dtype == pl.Duration else values.cast(pl.String)
            texts = written.str.strip_chars().fill_null("")
            counted = self.values.get(name, Counter()) + Counter(texts.to_list())
            self.values[name] = Counter(dict(counted.most_common(KEPT)))

    def said(self) -> str:
        """A sentence of them; empty where there are none."""
        if not self.rows:
            return ""
        told = []
        for name, rows in self.rows.items():
            most = self.values[name].most_common(NAMED)
            named = [f"{shown(value) if value else 'nothing'} in {count:,}" for value, count in most]
            more = ", …" if len(self.values[name]) > len(most) else ""
            told.append(f"{shown(name)} in {rows:,} row{'' if rows == 1 else 's'} ({', '.join(named)}{more})")
        return f"values that were rare in training or are new, counted as other: {'; '.join(told)}"
