import numpy as np
import polars as pl
import pytest

from gatewise.data import Records, fit_preprocessing, load_preprocessing
from gatewise.data.preprocessing.coding import is_identifier
from gatewise.data.unknown_values import UnknownValues

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("row", np.arange(200), True),
        ("row", RNG.permutation(2000)[:210] + 10_000, True),
        ("customer_id", RNG.integers(0, 10**9, 200), True),
        ("customerID", RNG.integers(0, 10**9, 200), True),
        ("cents", RNG.integers(0, 10**9, 200), False),
        ("paid", RNG.integers(0, 10**9, 200), False),
        ("age", RNG.integers(18, 90, 200), False),
        ("id", np.repeat(np.arange(100), 2), False),
        ("id", RNG.normal(size=200), False),
        ("id", np.arange(49), False),
        ("name", [f"person {i}" for i in range(200)], True),
        ("name", [f"person {i}" for i in range(196)] + ["person 0"] * 4, True),
        ("city", [f"city {i % 150}" for i in range(200)], False),
        ("name", [f"person {i}" for i in range(100)] + [None] * 100, True),
    ],
)
def test_what_looks_like_an_identifier(name, values, expected):
    kind = pl.String if isinstance(values, list) else pl.Float64
    assert is_identifier(pl.Series(name, values, dtype=kind, strict=False)) == expected


def test_measurements_drawn_by_chance_are_kept():
    """Whole numbers from a range of 10 N: 95.2 % are expected to differ, with N = 2000 1 % above that is 7 σ away."""
    for seed in range(50):
        values = np.random.default_rng(seed).integers(0, 20_000, 2000).astype(float)
        assert not is_identifier(pl.Series("x", values))


def table(**more):
    return Records(pl.DataFrame({"x": RNG.normal(size=100), "id": np.arange(100), **more}), None, "sales.csv")


def test_an_identifier_is_left_out_and_said(tmp_path):
    records = table(name=[f"person {i}" for i in range(100)], rare=["", *[None] * 99])
    preprocessing = fit_preprocessing(records)
    assert preprocessing.feature_names == ["x"]
    said = preprocessing.used(records)
    assert said == (
        "Used 1 of 4 columns: 1 as numbers, 0 as categories; left out, as nearly every value is different, like an "
        "identifier: 'id', 'name' (--set 'keep=[\"id\", \"name\"]' would use them); left out, as asked or for no value "
        "or only rare ones: 'rare'."
    )
    preprocessing.save(tmp_path)
    assert load_preprocessing(tmp_path).used(records) == said
    assert b"person" not in (tmp_path / "preprocessing.json").read_bytes()


def test_columns_are_kept_or_dropped_as_asked(refused):
    records = table(name=[f"person {i % 99}" for i in range(100)])
    assert fit_preprocessing(records, keep=["id"]).feature_names == ["x", "id"]
    assert fit_preprocessing(records, keep=["id"], drop=["x"]).feature_names == ["id"]
    assert len(fit_preprocessing(records, keep=["name"]).feature_names) == 100
    assert len(fit_preprocessing(records, keep=["*"]).feature_names) == 101
    with refused("sales.csv", "keep names 'idd'", "did you mean 'id'?"):
        fit_preprocessing(records, keep=["idd"])
    with refused("drop names '*'"):
        fit_preprocessing(records, drop=["*"])
    with refused("no column that can be used; left out", "'id'"):
        fit_preprocessing(table(), drop=["x"])
    with refused("an array has none"):
        fit_preprocessing(Records(np.ones((3, 2)), None, "a.npz"), drop=["x"])


def test_values_without_a_category_are_counted():
    preprocessing = fit_preprocessing(
        Records(pl.DataFrame({"x": [1.0, 2.0], "w": ["a", "b"], "v": ["c", "d"]}), None, "")
    )
    rows = Records(pl.DataFrame({"v": ["c", "d", "c"], "w": ["a", "new", "newer"], "x": [1.0, 2.0, 3.0]}), None, "")
    unknown = UnknownValues(preprocessing)
    for places in ([0], []):
        part = rows.take(np.array(places, dtype=int))
        unknown.update(part, preprocessing.transform(part))
    assert unknown.said() == ""
    for _ in range(2):
        unknown.update(rows, preprocessing.transform(rows))
    assert unknown.rows == {"w": 4}
    assert unknown.values == {"w": {"new": 2, "newer": 2}}
    assert unknown.said().endswith("counted as other: 'w' in 4 rows ('new' in 2, 'newer' in 2)")
