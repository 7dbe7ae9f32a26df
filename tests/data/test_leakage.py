"""A column that gives the answer away is found, and an honest one is not accused."""

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine

from gatewise.data.leakage import telling_columns

DRAW = np.random.default_rng(0)
CODES = DRAW.integers(0, 2, 400)
VALUES = DRAW.normal(size=400) * 10
STEPS = DRAW.integers(0, 20, 400) * 2.5

TELLING = {
    "the answer in words": (pl.Series(["no", "yes"]).gather(CODES), CODES, False),
    "the answer as a number": (pl.Series(CODES.astype(float)), CODES, False),
    "the answer in finer words": (pl.Series([f"{c}{i % 4}" for i, c in enumerate(CODES)]), CODES, False),
    "a number that parts the classes": (pl.Series(CODES * 5 + DRAW.random(400)), CODES, False),
    "all but one row": (pl.Series(np.where(np.arange(2000) == 7, 1, np.arange(2000) % 3)), np.arange(2000) % 3, False),
    "the number in another unit": (pl.Series(VALUES * 2.54 + 3), VALUES, True),
    "a function of the number": (pl.Series(np.exp(-VALUES / 9)), VALUES, True),
    "the number in words": (pl.Series([f"v{v}" for v in STEPS]), STEPS, True),
}


@pytest.mark.parametrize("case", TELLING)
def test_what_gives_the_answer_away_is_found(case):
    column, answer, numbers = TELLING[case]
    frame = pl.DataFrame({"told": column, "other": DRAW.normal(size=len(answer))})
    assert telling_columns(frame, answer.astype(str).astype(object), numbers) == ["told"]


HONEST = {
    "an identifier": (pl.Series([f"id{i}" for i in range(400)]), CODES, False),
    "a row number": (pl.Series(np.arange(400.0)), CODES, False),
    "right on 95 %": (pl.Series(np.where(DRAW.random(400) < 0.95, CODES, 1 - CODES)), CODES, False),
    "nearly all rows of one class": (pl.Series(DRAW.integers(0, 3, 400)), (np.arange(400) < 2).astype(int), False),
    "a correlation of .999": (pl.Series(VALUES + 0.4 * DRAW.normal(size=400)), VALUES, True),
    "too few rows": (pl.Series(CODES[:40]), CODES[:40], False),
}


@pytest.mark.parametrize("case", HONEST)
def test_an_honest_column_is_not_accused(case):
    column, answer, numbers = HONEST[case]
    assert telling_columns(pl.DataFrame({"column": column}), answer.astype(str).astype(object), numbers) == []


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer, load_diabetes])
def test_no_column_of_real_data_is_accused(load):
    x, y = load(return_X_y=True)
    assert telling_columns(pl.DataFrame(x), y.astype(str).astype(object), load is load_diabetes) == []


def test_missing_values_are_a_value_and_several_labels_are_looked_at_one_by_one():
    gone = pl.Series([None if code else "there" for code in CODES])
    labels = np.stack([DRAW.integers(0, 2, 400), CODES], axis=1).astype(str).astype(object)
    assert telling_columns(pl.DataFrame({"gone": gone}), labels, False) == ["gone"]
