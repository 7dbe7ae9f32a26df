"""The preprocessing of a table on disk, fitted in one pass over its rows and on a sample of them."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from gatewise.data.number_format import NumberFormat
from gatewise.data.preprocessing.coding import OTHER, Column, codes, of_levels, of_numbers
from gatewise.data.preprocessing.one_pass import ColumnMoments, TablePass
from gatewise.data.preprocessing.outliers import Squash
from gatewise.data.preprocessing.table import KEEP_ALL, TablePreprocessing, check_names, no_column, squash_of
from gatewise.data.preprocessing.transformer import MOST_QUANTILES, fitted_to_each
from gatewise.data.row_numbers import without_names
from gatewise.data.streaming.records import StoredRows

SAMPLE_VALUES = 2**24
"""Values of the sample, at most, where that leaves `LEAST_SAMPLE` rows."""
MOST_SAMPLE, LEAST_SAMPLE = 200_000, 10_000


def sample_rows(columns: int) -> int:
    """How many rows of so many columns are drawn where all are too many: from 10,000 to 200,000."""
    return min(MOST_SAMPLE, max(LEAST_SAMPLE, SAMPLE_VALUES // columns))


def fit_stored(
    rows: StoredRows,
    numeric: str = "standard",
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
    outliers: str = "squash",
) -> TablePreprocessing:
    """What `TablePreprocessing.fit` gives for the same rows in memory, or comes near to it.

    What is missing and how often each text is there come from all rows, as do mean and variance of a column without
    numbers that are far outside. Medians, which fill gaps, other quantiles, and mean and variance where such numbers
    are brought near come from a sample of the rows (`sample_rows`), which is all of them where they are few. Which
    columns look like identifiers is told from a sample of their values (`table_pass.Different`).

    Raises:
        GatewiseError: as `TablePreprocessing.fit` does.
    """
    check_names(rows.columns, rows.name, {"keep": keep, "drop": drop})
    names = [name for name in rows.columns if name not in drop]
    seen = TablePass(len(rows))
    for part in rows.records(names):
        seen.add(part)
    numbering = {*rows.row_numbers, *without_names(names, seen.marks_each)}
    marking = set() if KEEP_ALL in keep else (seen.marking_rows() | numbering) - {*keep}
    identifiers = tuple(name for name in names if name in marking)
    formats = {name: reading.format for name, reading in rows.readings.items()}
    used = [name for name in names if name not in identifiers]
    decimal = rows.table.form.decimal
    columns = tuple(c for name in used for c in _columns(name, seen, name in keep, formats.get(name), decimal))
    if not columns:
        raise no_column(rows.name, identifiers)
    sample = rows.sample(sample_rows(len(columns)), list(dict.fromkeys(column.source for column in columns)))
    values = codes(pl.DataFrame(sample.features), columns, sample)
    places = [seen.numbers.names.index(column.name) for column in columns if column.levels is None]
    ranges = [(float(seen.numbers.low[place]), float(seen.numbers.high[place])) for place in places]
    squash = squash_of(columns, values, numeric, outliers, ranges)
    transformer = _transformer(columns, values, seen, numeric, squash)
    return TablePreprocessing(columns, rows.missing, transformer, identifiers, squash, rows.table.form.missing_numbers)


def _columns(name: str, seen: TablePass, keep: bool, form: NumberFormat | None, decimal: str | None) -> list[Column]:
    """As `gatewise.data.preprocessing.coding.described`."""
    if name in seen.texts:
        text = seen.texts[name]
        found = of_levels(name, text.levels, text.rows, keep, decimal) if text.known else None
        return [] if found is None else [found]
    numbers = seen.numbers
    parts = [part for part in seen.parts.values() if part.column == name]
    if parts:
        places = {part: numbers.names.index(part.feature) for part in parts}
        there = numbers.moments.count[places[parts[0]]] > 0
        vary = [part for part, i in places.items() if part.is_first or numbers.low[i] < numbers.high[i]]
        return [Column(part.feature, None, part=part) for part in vary] if there else []
    i = numbers.names.index(name)
    two = numbers.whole[i] and 0 <= numbers.low[i] <= numbers.high[i] <= 1
    return [of_numbers(name, form, decimal, bool(two))] if numbers.moments.count[i] else []


def _transformer(
    columns: Sequence[Column], sample: Sequence[np.ndarray], seen: TablePass, numeric: str, squash: Squash | None
) -> ColumnTransformer:
    """scikit-learn's, fitted on rows that have each level and gap once; then what it has learned is put right.

    Args:
        columns: that are used.
        sample: their numbers and codes in some rows.
        seen: of all rows.
        numeric: see `fit_preprocessing`.
        squash: of the numbers.
    """
    places = [seen.numbers.names.index(column.name) for column in columns if column.levels is None]
    gaps = seen.numbers.rows - seen.numbers.moments.count[places] if places else np.zeros(0)
    found = [_witness(column, seen) for column in columns]
    for column, gap in zip((i for i, each in enumerate(columns) if each.levels is None), gaps, strict=True):
        found[column] = [0.0, np.nan] if gap else [0.0]
    fitted = fitted_to_each(columns, numeric, found)
    if places:
        numbers = [x for x, column in zip(sample, columns, strict=True) if column.levels is None]
        _put_right(fitted.named_transformers_["number"], numbers, seen, places, squash)
    return fitted


def _witness(column: Column, seen: TablePass) -> list[float]:
    """The codes that a column of text has, each once."""
    if column.levels is None:
        return []
    counts = seen.texts[column.name].counts
    others = seen.texts[column.name].rows > sum(counts[level] for level in column.levels)
    return [*([float(OTHER)] if others else []), *map(float, range(len(column.levels)))]


def _put_right(
    steps: Pipeline, sample: Sequence[np.ndarray], seen: TablePass, places: Sequence[int], squash: Squash | None
) -> None:
    """Give the imputer its medians and the scaler what follows from them, of the columns of numbers at these places."""
    imputer, scaler = steps[0], steps[-1]
    count, means, squares = _moments(sample, seen, places, squash)
    # a column may have no value in the sample, where nearly all are missing
    medians = [np.nanmedian(x) if not np.isnan(x).all() else mean for x, mean in zip(sample, means, strict=True)]
    imputer.statistics_ = np.array(medians)
    filled = ColumnMoments()
    filled.merge(count, means, squares)
    filled.merge(seen.numbers.rows - count, imputer.statistics_, 0.0)
    if type(scaler) is not StandardScaler:
        scaler.set_params(n_quantiles=min(MOST_QUANTILES, len(sample[0])))
        scaler.fit(np.column_stack([np.where(np.isnan(x), m, x) for x, m in zip(sample, medians, strict=True)]))
        return
    scaler.n_samples_seen_ = seen.numbers.rows
    scaler.mean_, scaler.var_ = filled.mean, filled.variance
    scaler.scale_ = _scale(filled.mean, filled.variance, seen.numbers.rows)


def _moments(
    sample: Sequence[np.ndarray], seen: TablePass, places: Sequence[int], squash: Squash | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count, mean and squared deviations of the columns of numbers, as `Moments` has them, once they are brought near.

    Of a column with numbers far outside the sample tells them.
    """
    moments = seen.numbers.moments
    count, means, squares = (each[places].copy() for each in (moments.count, moments.mean, moments.squares))
    for i, (x, place) in enumerate(zip(sample, places, strict=True)):
        if squash is None or squash.low[i] <= seen.numbers.low[place] <= seen.numbers.high[place] <= squash.high[i]:
            continue
        if (near := ColumnMoments.of([squash(x, i)])).count:
            means[i], squares[i] = near.mean, near.variance * count[i]
    return count, means, squares


def _scale(mean: np.ndarray, variance: np.ndarray, rows: int) -> np.ndarray:
    """The standard deviation; 1 where all that varies may be rounding, as scikit-learn judges it."""
    rounding = np.finfo(np.float64).eps * rows
    return np.where(variance <= rounding * variance + (mean * rounding) ** 2, 1.0, np.sqrt(variance))
