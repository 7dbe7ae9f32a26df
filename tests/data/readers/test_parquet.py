from datetime import date
from decimal import Decimal

import polars as pl
import pytest

from gatewise.data import read

TABLE = pl.DataFrame(
    {
        "i": pl.Series([1, None, 3], dtype=pl.Int16),
        "f": [0.5, float("nan"), -2.0],
        "b": [True, None, False],
        "s": [" u ", "?", None],
        "n": ["1", "2", "3"],
        "c": pl.Series(["p", "q", None], dtype=pl.Categorical),
        "e": pl.Series(["p", None, "q"], dtype=pl.Enum(["p", "q"])),
        "d": pl.Series([Decimal("1.50"), None, Decimal("2.25")]),
        "z": pl.Series([None, None, None]),
        "y": ["a", "b", "a"],
    }
)


@pytest.fixture
def write(tmp_path):
    def make(frame, name="data.parquet"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        frame.write_parquet(path)
        return path

    return make


def test_every_type_becomes_numbers_or_text(write):
    features = read(write(TABLE), "y").records.features
    assert {name: features[name].to_list() for name in features.columns} == {
        "i": [1.0, None, 3.0],
        "f": [0.5, None, -2.0],
        "b": [1.0, None, 0.0],
        "s": ["u", None, None],
        "n": [1.0, 2.0, 3.0],
        "c": ["p", "q", None],
        "e": ["p", None, "q"],
        "d": [1.5, None, 2.25],
        "z": [None, None, None],
    }
    assert set(features.dtypes) == {pl.Float64, pl.String}
    assert [features[name].dtype for name in "idz"] == [pl.Float64] * 3


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([3, 12], ["3", "12"]),
        ([1.0, -2.0], ["1", "-2"]),
        ([True, False], ["true", "false"]),
        ([" N ", "None"], ["N", "None"]),
        ([" NA ", "None"], ["None"]),
        (pl.Series(["u", "v"], dtype=pl.Categorical), ["u", "v"]),
    ],
)
def test_labels_are_the_values_as_text(write, values, labels):
    records = read(write(pl.DataFrame({"x": [1, 2], "y": values})), "y").records
    assert records.labels.tolist() == labels


def test_a_folder_is_read_in_the_order_of_names(tmp_path, write):
    for name, value in [("b.parquet", 2), ("a.parquet", 1), ("c.PARQUET", 3)]:
        write(pl.DataFrame({"x": [value, value], "y": ["u", "v"]}), f"part/{name}")
    write(pl.DataFrame({"x": [9], "y": ["w"]}).clear(), "part/aa.parquet")
    (tmp_path / "part" / "_SUCCESS").touch()
    records = read(tmp_path / "part", "y").records
    assert records.features["x"].to_list() == [1, 1, 2, 2, 3, 3]
    assert records.labels.tolist() == ["u", "v"] * 3
    assert records.target == "y"


def test_prediction_needs_no_target(write):
    path = write(pl.DataFrame({"x": [1, 2], "y": ["a", None]}))
    records = read(path, "y", require_target=False).records
    assert (records.columns, records.labels) == (["x"], None)
    records = read(path, "other", require_target=False).records
    assert (records.columns, records.labels, records.target) == (["x", "y"], None, None)


@pytest.mark.parametrize(
    ("frame", "parts"),
    [
        ({"many": [[1, 2]], "y": ["a"]}, ["row 1", "'many' holds List", "--set 'drop=many'"]),
        ({"nest": [{"u": 1}], "y": ["a"]}, ["'nest' holds Struct"]),
        ({"raw": [b"x"], "y": ["a"]}, ["'raw' holds Binary"]),
        ({"x": [1.0, float("inf")], "y": ["a", "b"]}, ["row 2", "'x' holds inf"]),
        ({"x": [1, 2, 3], "y": ["NA", None, ""]}, ["none of 3 rows has a target (2 empty, 1 'NA')"]),
        ({"x": [1, 2], "y": [None, float("nan")]}, ["none of 2 rows has a target (2 empty)"]),
        ({"x": [1], "y": [date(2020, 1, 1)]}, ["'y' holds Date"]),
        ({"x": [1], "yy": ["a"]}, ["no column 'y'", "did you mean 'yy'?"]),
        ({"y": ["a"]}, ["no column besides the target"]),
        ({"x": [], "y": []}, ["no rows"]),
    ],
)
def test_refuses(write, refused, frame, parts):
    path = write(pl.DataFrame(frame))
    with refused(str(path), *parts):
        read(path, "y")


@pytest.mark.parametrize(
    ("second", "parts"),
    [
        ({"x": ["1"], "y": ["a"]}, ["b.parquet", "'x' of String", "'x' of Int64"]),
        ({"z": [1], "y": ["a"]}, ["b.parquet", "'z' of Int64", "'x' of Int64"]),
        ({"x": [1], "y": ["a"], "z": [1]}, ["b.parquet", "3 columns", "has 2"]),
    ],
)
def test_refuses_files_that_differ(tmp_path, write, refused, second, parts):
    write(pl.DataFrame({"x": [1], "y": ["a"]}), "part/a.parquet")
    write(pl.DataFrame(second), "part/b.parquet")
    with refused(*parts):
        read(tmp_path / "part", "y")


def test_refuses_damaged_files_and_odd_folders(tmp_path, write, refused):
    path = write(TABLE)
    whole = path.read_bytes()
    for content in [b"", b"PAR1", whole[:-20], whole[: len(whole) // 2], whole[:40] + b"\xff" * 80 + whole[120:]]:
        path.write_bytes(content)
        with refused(str(path), "not a readable Parquet file"):
            read(path, "y")
    (tmp_path / "none").mkdir()
    with refused("without .parquet files"):
        read(tmp_path / "none", "y")
    (tmp_path / "part" / "folder.parquet").mkdir(parents=True)
    with refused("without .parquet files"):
        read(tmp_path / "part", "y")


def test_numbers_to_predict_are_labels_as_written(write):
    path = write(pl.DataFrame({"x": [1, 2], "y": [1.0, 2.5]}))
    assert read(path, "y").records.labels.tolist() == ["1", "2.5"]
