import csv
import io

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise import GatewiseError
from gatewise.data import read
from gatewise.data.readers.csv import _fields, _lines


@pytest.fixture
def write(tmp_path):
    def make(content):
        path = tmp_path / "data.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def test_columns_become_numbers_or_stay_text(write):
    path = write("age, work ,code,empty,class\n 39, Private ,0012,,a\n,?,x7,,b\n nan ,NA,3,?,a\n")
    records, test = read(path, "class")
    assert test is None
    assert records.features.schema == {
        "age": pl.Float64,
        "work": pl.String,
        "code": pl.String,
        "empty": pl.Float64,
    }
    assert records.features.rows() == [
        (39.0, "Private", "0012", None),
        (None, None, "x7", None),
        (None, "NA", "3", None),
    ]
    assert records.labels.tolist() == ["a", "b", "a"]
    assert (records.target, records.name, len(records)) == ("class", str(path), 3)


def test_labels_stay_as_written(write):
    labels = ["N", "None", "0012", "1.0", "-", "true", "1e3", "inf"]
    records = read(write("x,y\n" + "".join(f"1, {label} \n" for label in labels)), "y").records
    assert records.labels.tolist() == labels
    assert records.labels.dtype == object


def test_missing_markers_are_the_callers(write):
    path = write("x,w,y\n-999,none,a\n1,?,b\n")
    records = read(path, "y", missing=(" -999", "none")).records
    assert records.features.rows() == [(None, None), (1.0, "?")]
    assert records.missing == (" -999", "none")
    assert read(path, "y", missing="none").records.missing == ("none",)


def test_prediction_needs_no_target(write):
    path = write("x,y\n1,a\n2,b\n")
    for target, columns, labels in [(None, ["x", "y"], None), ("z", ["x", "y"], None), ("y", ["x"], ["a", "b"])]:
        records = read(path, target, require_target=False).records
        assert records.columns == columns
        assert labels == (None if records.labels is None else records.labels.tolist())
    half = read(write("x,y\n1,a\n2,\n"), "y", require_target=False).records
    assert half.columns == ["x"]
    assert half.labels is None


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfa,b\n1,x\n2,y\n",
        b"a,b\r\n1,x\r\n2,y\r\n\r\n\r\n",
        b"a,b\r1,x\r2,y",
        b"\n\n a , b\n 1 , x\n2,y \n\n \n",
        b'"a", "b"\n1, "x"\n"2","y"\n\n',
    ],
    ids=["byte-order mark", "windows", "old mac", "blank ends", "quotes after spaces"],
)
def test_one_table_written_in_many_ways(write, content):
    records = read(write(content), "b").records
    assert records.features.rows() == [(1.0,), (2.0,)]
    assert records.labels.tolist() == ["x", "y"]


def test_quotes_keep_commas_and_line_ends(write):
    records = read(write('w,y\n"a, ""b""",x\n"two\nlines",y\n5" pipe,x\n'), "y").records
    assert records.features["w"].to_list() == ['a, "b"', "two\nlines", '5" pipe']


def test_one_column_keeps_its_blank_lines_as_missing(write):
    records = read(write("a\n1\n\n3\n\n"), require_target=False).records
    assert records.features["a"].to_list() == [1.0, None, 3.0, None]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("", ["is empty"]),
        ("\n\n", ["is empty"]),
        ("x,y\n", ["no rows"]),
        ("x,y", ["no rows"]),
        ("x,y\n1,a\n2\n", ["line 3", "1 fields", "the header has 2"]),
        ("x,y\n1,a\n2,b,c\n", ["line 3", "3 fields", "the header has 2"]),
        ("x,y\n1,a\n\n2,b\n", ["line 3", "0 fields"]),
        ('"x",y\n1,a\n2\n', ["line 3", "1 fields"]),
        ('x,y\n1,a\n"2,b\n3,c\n', ["line 4", "mend the quotes"]),
        ("x, x,y\n1,2,a\n", ["'x' twice", "columns 1 and 2"]),
        (",x,y\n0,1,a\n0,2,b\n", ["column 1 has no name"]),
        ("x,y\n1,a\n2,\xe9\n".encode("latin-1"), ["line 3", "UTF-8"]),
        ("x,y\n1,a\n".encode("utf-16"), ["UTF-8"]),
        ("x,y\n1,a\n".encode("utf-16-le"), ["binary"]),
        ("x,yy\n1,a\n", ["no column 'y'", "did you mean 'yy'?", "columns: 'x', 'yy'"]),
        ("x;y\n1;a\n", ["'x;y'", "separated by ';'", "commas"]),
        ("y\na\n", ["no column besides the target"]),
        ("x,y\n1,NA\n2, \n3,\n", ["none of 3 rows has a target (2 empty, 1 'NA')"]),
        ("x,y\n1,a\n\t-inf,b\n", ["line 3", "'x'", "-inf"]),
        ("x,y\n1,a\n1e39,b\n", ["line 3", "'x'", "1e+39"]),
    ],
)
def test_refuses(write, refused, content, parts):
    path = write(content)
    with refused(str(path), *parts):
        read(path, "y")


def test_refuses_to_guess_the_target(write, refused):
    with refused("which column holds the labels", "'x', 'y'"):
        read(write("x,y\n1,a\n"))


# A space beside a comma is not part of a field, and "" quotes as the csv module writes them.
FIELD = st.text(alphabet='ab1.,"\n é', max_size=5).map(str.strip)


@given(rows=st.lists(st.lists(FIELD, min_size=3, max_size=3), min_size=1, max_size=6), quote=st.booleans())
def test_both_ways_of_reading_agree_with_the_csv_module(rows, quote):
    rows = [["end", *row] for row in rows]  # no row of spaces alone: at the end that is a blank line
    if not quote:
        rows = [[field.translate(str.maketrans("", "", ',"\n')) for field in row] for row in rows]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_MINIMAL).writerows([["h", "i", "j", "k"], *rows])
    text = out.getvalue()
    by_lines = [fields for _, fields in _lines(text, "name")][1:]
    for found in (_fields(text, "name").rows(), by_lines):
        assert [[field.strip() for field in row] for row in found] == [[f.strip() for f in row] for row in rows]


def test_adult(adult):
    records = read(adult / "adult-train.csv", "income").records
    assert records.features.shape == (32561, 14)
    assert sorted(set(records.labels)) == ["<=50K", ">50K"]
    kinds = np.array([dtype == pl.Float64 for dtype in records.features.dtypes])
    assert kinds.sum() == 6
    missing = {c.name: c.null_count() for c in records.features if c.null_count()}
    assert missing == {"workclass": 1836, "occupation": 1843, "native_country": 583}


def test_a_stray_text_among_numbers_is_refused_by_row_and_value(tmp_path):
    rows = [f"{i}.5,{'ab'[i % 2]}" for i in range(60)]
    rows[7] = "unknown,b"
    (tmp_path / "sales.csv").write_text("spend,y\n" + "\n".join(rows))
    with pytest.raises(GatewiseError, match=r"line 9: column 'spend' holds 'unknown' where nearly all .*59 of 60"):
        read(tmp_path / "sales.csv", "y")
    told = read(tmp_path / "sales.csv", "y", missing=["", "unknown"]).records
    assert told.features["spend"].null_count() == 1


def test_codes_of_which_most_are_numbers_stay_text(tmp_path):
    rows = [f"{i if i % 10 else f'A{i}'},{'ab'[i % 2]}" for i in range(100)]
    (tmp_path / "codes.csv").write_text("code,y\n" + "\n".join(rows))
    assert read(tmp_path / "codes.csv", "y").records.features["code"][0] == "A0"
