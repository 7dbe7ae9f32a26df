"""Columns that name a row and tell nothing about it: numbers of customers, invoices, rows."""

import re

import polars as pl

LEAST = 50  # values below which a column is too short to say
TEXT, NUMBERS = 0.95, 0.99  # the share of different values from which a column may be an identifier
DENSE = 10  # draws by chance from fewer than 10 N whole numbers are different in at most 95.2 % of N
NAMED = re.compile(r"(?i:(?:^|[\W_])(?:id|uuid|guid|index|identifier)$)|[a-z]I[dD]$")


def is_identifier(series: pl.Series) -> bool:
    """Whether nearly every value of a String or Float64 column is different, and it is no measurement; no other is.

    Text is an identifier where 95 % of its values are different. A measurement in whole numbers may be as different
    (a price in cents), so a column of numbers is one only where 99 % are different whole numbers that chance would
    not make so: they lie within 10 times as many as there are; or where its name ends in id, uuid, guid, index or
    identifier. Fewer than 50 values do not suffice for either.
    """
    values = series.drop_nulls()
    if len(values) < LEAST or not (values.dtype == pl.String or values.dtype.is_numeric()):
        return False
    share = values.n_unique() / len(values)
    if values.dtype == pl.String:
        return marks_rows(series.name, len(values), share, None)
    if share < NUMBERS or not (values == values.round()).all():
        return False
    numbers = values.to_numpy()
    return marks_rows(series.name, len(values), share, float(numbers.max() - numbers.min()))


def marks_rows(name: str, count: int, share: float, span: float | None) -> bool:
    """Whether a column of text or of whole numbers is an identifier, by what is known of it.

    Args:
        name: of the column.
        count: of its values.
        share: of them that are different.
        span: between the greatest and the least of whole numbers; None for text.
    """
    if count < LEAST:
        return False
    if span is None:
        return share >= TEXT
    return share >= NUMBERS and (span < DENSE * count or NAMED.search(name) is not None)
