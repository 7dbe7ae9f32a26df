"""Tables: text columns become codes, then scikit-learn's ColumnTransformer makes numbers of all columns."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import StandardScaler

from gatewise.data.dates import DatePart
from gatewise.data.number_format import NumberFormat
from gatewise.data.preprocessing.coding import OTHER, Column, codes, described, is_identifier, plain_features
from gatewise.data.preprocessing.outliers import Squash
from gatewise.data.preprocessing.transformer import load_transformer, unfitted
from gatewise.data.records import Records
from gatewise.data.streaming.records import StoredRows
from gatewise.errors import GatewiseError
from gatewise.files import replacing, write_text
from gatewise.wording import listing, nearest, shown

KEEP_ALL = "*"  # in `keep`: every column is used
NUMBERS_ROWS = "as row numbers or an index"
MARKS_ROWS = "as nearly every value is different, like an identifier"


@dataclass(frozen=True, eq=False)
class TablePreprocessing:
    """Median, missing indicator and scale for numbers; one column a level for text.

    A text that is rare (fewer than 10 rows, or 1 % of a small table), beyond the 200 most frequent, or
    unknown counts as "other": a column of its own where there were such texts in fitting, else zeros.
    Columns without a value, or with rare texts alone, are not used, nor those that look like identifiers
    (`coding.is_identifier`), which are named in `identifiers`. Numbers far outside are brought near first, by
    `squash`; None leaves them where they are, as runs did that were written before there was one.
    """

    columns: tuple[Column, ...]
    missing: tuple[str, ...]
    transformer: ColumnTransformer
    identifiers: tuple[str, ...] = ()
    squash: Squash | None = None
    missing_numbers: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls,
        records: Records,
        numeric: str,
        keep: Sequence[str] = (),
        drop: Sequence[str] = (),
        outliers: str = "squash",
    ) -> "TablePreprocessing":
        """Fits to a table; raises GatewiseError where no column can be used, or one to keep or drop is not there."""
        given = pl.DataFrame(records.features)
        check_names(given.columns, records.name, {"keep": keep, "drop": drop})
        frame = plain_features(given.drop(drop), records)
        free = [] if KEEP_ALL in keep else [series for series in frame.iter_columns() if series.name not in keep]
        identifiers = tuple(s.name for s in free if s.name in records.row_numbers or is_identifier(s))
        kept = [series for series in frame.iter_columns() if series.name not in identifiers]
        columns = tuple(column for series in kept for column in described(series, series.name in keep, records))
        if not columns:
            raise no_column(records.name, identifiers)
        values = codes(frame, columns, records)
        squash = squash_of(columns, values, numeric, outliers)
        transformer = unfitted(columns, numeric, len(frame))
        transformer.fit(np.column_stack(brought_near(columns, values, squash)))  # pyrefly: ignore[bad-argument-type]
        return cls(columns, records.missing, transformer, identifiers, squash, records.missing_numbers)

    @property
    def numbers(self) -> int:
        """How many of the first columns after `transform` are scaled numbers."""
        return sum(column.levels is None for column in self.columns)

    @property
    def column_names(self) -> list[str]:
        """The columns of the table that are used."""
        return list(dict.fromkeys(column.source for column in self.columns))

    @property
    def formats(self) -> dict[str, NumberFormat | None]:
        """How numbers in text are written, by column of numbers; None of other columns."""
        others = {
            column.source: None for column in self.columns if column.levels is not None or column.part is not None
        }
        numbers = (column for column in self.columns if column.source not in others)
        return others | {column.name: column.format for column in numbers if column.format is not None}

    def used(self, records: Records | StoredRows) -> str:
        """Which of the table's columns are used, and how."""
        names = {*self.column_names}
        numbers = sum(column.levels is None and column.part is None for column in self.columns)
        dates = len({column.source for column in self.columns if column.part is not None})
        dropped = [name for name in records.columns or [] if name not in {*names, *self.identifiers}]
        kinds = f"{numbers} as numbers, {f'{dates} as dates or times, ' if dates else ''}"
        kinds += f"{len(names) - numbers - dates} as categories"
        left_out = f"; left out, as asked or for no value or only rare ones: {listing(dropped)}" if dropped else ""
        total = len(names) + len(dropped) + len(self.identifiers)
        numbering = [name for name in self.identifiers if name in records.row_numbers]
        marking = [name for name in self.identifiers if name not in numbering]
        said = said_of_identifiers(numbering, NUMBERS_ROWS) + said_of_identifiers(marking, MARKS_ROWS)
        return f"Used {len(names)} of {total} columns: {kinds}{said}{left_out}."

    def unknown(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """For each text column which of the rows [N, D], as `transform` gives them, have no category, bool `[N]`.

        Their values are rare or were unseen in fitting. Columns without such rows are left out.
        """
        found = {name: np.logical_not(rows[:, known].any(axis=1)) for name, known in self._known_levels.items()}
        return {name: without for name, without in found.items() if without.any()}

    @cached_property
    def _known_levels(self) -> dict[str, list[int]]:
        """For each text column the positions after `transform` of its levels, without "other"."""
        texts = [column for column in self.columns if column.levels is not None]
        if not texts:
            return {}
        seen = self.transformer.named_transformers_["text"].categories_
        start, known = len(self.feature_names) - sum(map(len, seen)), {}
        for column, levels in zip(texts, seen, strict=True):
            known[column.name] = [start + i for i, code in enumerate(levels) if code != OTHER]
            start += len(levels)
        return known

    def transform(self, records: Records) -> np.ndarray:
        """The rows as float32 [N, D]; columns that were not fitted are left out.

        Raises GatewiseError for an array, a column that is not there, text in a column of numbers, and a
        number too far from those fitted for float32.
        """
        names = self.column_names
        if not isinstance(records.features, pl.DataFrame):
            raise GatewiseError(
                f"{records.name}: an array, but the model was trained on a table with the columns "
                f"{listing(names)}; give such a table"
            )
        there = dict.fromkeys(records.features.columns)
        for name in names:
            if name not in there:
                hint = nearest(name, list(there))
                raise GatewiseError(
                    f"{records.name}: no column {shown(name)}, which the model was trained on; {hint}add it"
                )
        if not len(records):
            return np.empty((0, *self.input_shape), dtype=np.float32)  # scikit-learn refuses no rows
        columns = brought_near(self.columns, codes(records.features, self.columns, records), self.squash)
        with np.errstate(over="ignore", invalid="ignore"):
            out = self._transformed(columns) if self._scaling is None else self._scaled(columns, *self._scaling)
        finite = np.isfinite(out)
        if not finite.all():
            row, feature = np.unravel_index(finite.argmin(), out.shape)
            raise GatewiseError(
                f"{records.place(int(row))}: column {shown(self.feature_names[feature])} is too far from "
                "the values trained on; mend or drop the row"
            )
        return out

    def _transformed(self, columns: list[np.ndarray]) -> np.ndarray:
        values = self.transformer.transform(np.column_stack(columns))  # pyrefly: ignore[bad-argument-type]
        return np.ascontiguousarray(values, dtype=np.float32)

    def _scaled(
        self, columns: list[np.ndarray], medians: np.ndarray, means: np.ndarray, scales: np.ndarray
    ) -> np.ndarray:
        """What `_transformed` gives, to the bit: scikit-learn takes six passes over all the numbers, this one."""
        parts = self.transformer.named_transformers_
        numbers = [x for x, column in zip(columns, self.columns, strict=True) if column.levels is None]
        texts = [x for x, column in zip(columns, self.columns, strict=True) if column.levels is not None]
        gaps = {self._told[number]: len(numbers) + i for i, number in enumerate(parts["missing"].features_)}
        out = np.empty((len(columns[0]), *self.input_shape), dtype=np.float32)
        fills, scaled = (medians - means) / scales, np.empty(len(out))
        for i, x in enumerate(numbers):
            np.subtract(x, means[i], out=scaled)
            out[:, i] = np.divide(scaled, scales[i], out=scaled)
            missing = np.isnan(x)
            if i in gaps:
                out[:, gaps[i]] = missing
            if missing.any():
                out[missing, i] = fills[i]
        if texts:
            out[:, len(numbers) + len(gaps) :] = parts["text"].transform(np.column_stack(texts))
        return out

    @cached_property
    def _told(self) -> list[int]:
        """Which of the columns of numbers have a column for what is missing, where something is."""
        numbers = [column for column in self.columns if column.levels is None]
        return [i for i, column in enumerate(numbers) if column.tells_gaps]

    @cached_property
    def _scaling(self) -> tuple[Any, Any, Any] | None:
        """Medians, means and scales of the columns of numbers; None where they are not standardised."""
        if (steps := self.transformer.named_transformers_.get("number")) is None:
            return None
        imputer, scaler = steps[0], steps[-1]
        return (imputer.statistics_, scaler.mean_, scaler.scale_) if type(scaler) is StandardScaler else None

    @property
    def input_shape(self) -> tuple[int]:
        """The shape of one row after `transform`."""
        return (len(self.feature_names),)

    @cached_property
    def feature_names(self) -> list[str]:
        """The names of the columns after `transform`: "age", "age is missing", "sex=male", "sex=(other)"."""
        parts = self.transformer.named_transformers_
        numbers = [column.name for column in self.columns if column.levels is None]
        texts = [column for column in self.columns if column.levels is not None]
        gaps = [f"{numbers[self._told[i]]} is missing" for i in parts["missing"].features_] if numbers else []
        levels = []
        for column, seen in zip(texts, parts["text"].categories_ if texts else [], strict=True):
            known = column.levels or ()
            levels += [f"{column.name}={'(other)' if code == OTHER else known[int(code)]}" for code in seen]
        return [*numbers, *gaps, *levels]

    def save(self, folder: Path) -> None:
        """Writes `preprocessing.json` and `preprocessing.skops` into the folder."""
        description = {
            "kind": "table",
            "missing": self.missing,
            "missing_numbers": self.missing_numbers,
            "identifiers": self.identifiers,
            "columns": [
                {key: value for key, value in asdict(column).items() if key == "levels" or value is not None}
                for column in self.columns
            ],
            "squash": None if self.squash is None else self.squash.described(),
        }
        text = json.dumps(description, indent=1, ensure_ascii=False)
        write_text(Path(folder) / "preprocessing.json", text)
        import skops.io  # a second, most of it the names of all that it trusts

        with replacing(Path(folder) / "preprocessing.skops") as part:
            skops.io.dump(self.transformer, part)

    @classmethod
    def load(cls, folder: Path, description: dict) -> "TablePreprocessing":
        """What `save` wrote; any exception says that the files are damaged or do not fit together."""
        names = _different([column["name"] for column in description["columns"]])
        levels = [None if c["levels"] is None else _different(c["levels"]) for c in description["columns"]]
        formats = [NumberFormat(**c["format"]) if c.get("format") else None for c in description["columns"]]
        parts = [DatePart(**c["part"]) if c.get("part") else None for c in description["columns"]]
        # older versions had one list of what is missing
        kept = ("missing", "identifiers", "missing_numbers")
        missing, identifiers, further = (_texts(description.get(key, [])) for key in kept)
        columns = tuple(map(Column, names, levels, formats, parts))
        squash = Squash.parsed(description.get("squash"), (sum(column.levels is None for column in columns),))
        transformer = load_transformer(Path(folder) / "preprocessing.skops", columns)
        return cls(columns, missing, transformer, identifiers, squash, further)


def _texts(values: object) -> tuple[str, ...]:
    """The texts of a list."""
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError("a list of texts that is none")
    return tuple(values)


def _different(values: object) -> tuple[str, ...]:
    """The texts of a list that has none of them twice."""
    found = _texts(values)
    if len({*found}) < len(found):
        raise ValueError(f"{shown(Counter(found).most_common(1)[0][0])} is there twice")
    return found


def check_names(there: Sequence[str], name: str, named: dict[str, Sequence[str]]) -> None:
    """Raises GatewiseError where a key names a column that is none of those there; `name` is the table's."""
    for key, columns in named.items():
        for column in columns:
            if column not in there and (key, column) != ("keep", KEEP_ALL):
                raise GatewiseError(
                    f"{name}: {key} names {shown(column)}, which is no column; {nearest(column, there)}"
                    f"columns: {listing(there)}"
                )


def no_column(name: str, identifiers: Sequence[str]) -> GatewiseError:
    """What is said of a table of this name whose columns tell nothing."""
    return GatewiseError(
        f"{name}: no column that can be used{said_of_identifiers(identifiers, MARKS_ROWS)}; give columns with values, "
        "not all of them rare"
    )


def said_of_identifiers(names: Sequence[str], why: str) -> str:
    """What `used` says of columns that are not used as they tell the rows apart."""
    if not names:
        return ""
    kept = json.dumps(list(names[:3]), ensure_ascii=False)
    them = "it" if len(names) == 1 else "them"
    return f"; left out, {why}: {listing(names)} (--set 'keep={kept}' would use {them})"


def squash_of(
    columns: Sequence[Column],
    values: Sequence[np.ndarray],
    numeric: str,
    outliers: str,
    ranges: Sequence[tuple[float, float]] | None = None,
) -> Squash | None:
    """What brings the numbers among the values of columns near; None where they stay, or become ranks.

    Where the values are those of some rows alone, `ranges` has the least and the greatest of all, for each column of
    numbers.
    """
    if outliers == "keep" or numeric != "standard":
        return None
    return Squash.of([x for x, column in zip(values, columns, strict=True) if column.levels is None], ranges)


def brought_near(columns: Sequence[Column], values: list[np.ndarray], squash: Squash | None) -> list[np.ndarray]:
    """The values of columns, with numbers far outside brought near."""
    if squash is None:
        return values
    numbers = iter(range(len(columns)))
    return [
        x if column.levels is not None else squash(x, next(numbers)) for x, column in zip(values, columns, strict=True)
    ]
