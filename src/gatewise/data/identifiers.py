"""Columns that name a row and tell nothing about it: numbers of customers, invoices, rows."""

import re

import polars as pl

LEAST = 50  # values below which a column is too short to say
TEXT, NUMBERS = 0.95, 0.99  # the share of different values from which a column may be an identifier
DENSE = 10  # draws by chance from fewer than 10 N whole numbers are different in at most 95.2 % of N
NAMED = re.compile(r"(?i:(?:^|[\W_])(?:id|uuid|guid|index|identifier)$)|[a-z]I[dD]$")


def is_identifier(series: pl.Series) -> bool:
    """Whether nearly every value of a String or Float64 column is different, and it is no measurement.

    Text is an identifier where 95 % of its values are different. A measurement in whole numbers may be as different
    (a price in cents), so a column of numbers is one only where 99 % are different whole numbers that chance would
    not make so: they lie within 10 times as many as there are; or where its name ends in id, uuid, guid, index or
    identifier. Fewer than 50 values do not suffice for either.
    """
    values = series.drop_nulls()
    if len(values) < LEAST:
        return False
    share = values.n_unique() / len(values)
    if values.dtype == pl.String:
        return share >= TEXT
    if share < NUMBERS or not (values == values.round()).all():
        return False
    low, high = values.to_numpy().min(), values.to_numpy().max()
    return bool(high - low < DENSE * len(values)) or NAMED.search(series.name) is not None
