"""Streams give the rows that the whole file gives, however small the parts, and name what is wrong with a row."""

import csv
import io
from collections import deque
from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewise import GatewiseError
from gatewise.data import MISSING, Records, fit_preprocessing, read, stream
from gatewise.data.read_options import Form
from gatewise.data.readers.csv import _fields
from gatewise.data.readers.csv_stream import stream_csv
from gatewise.data.readers.parquet import stream_parquet

PARTS = (20, 90, 10**6)
"""Values of a part: from two or three rows to all of them."""


def mixed(rows=60):
    """Whatever a column may hold; what a part holds alone would be read in another way."""
    late = [i if i > 30 else None for i in range(rows)]
    return pl.DataFrame(
        {
            "int": pl.Series([None if i % 7 == 0 else i for i in range(rows)], dtype=pl.Int32),
            "float": [float("nan") if i % 11 == 0 else i / 7 for i in range(rows)],
            "late": pl.Series(late, dtype=pl.Float32),
            "never": pl.Series([None] * rows),
            "code": [f"{i % 3}" if i < 40 else "x" for i in range(rows)],
            "text": [[" red", "blue", None, "NA", "1.0"][i % 5] for i in range(rows)],
            "flag": [i % 3 == 0 for i in range(rows)],
            "kind": pl.Series([["p", "q"][i // 35] for i in range(rows)], dtype=pl.Categorical),
            "y": ["yes" if i % 2 else "no" for i in range(rows)],
        }
    )


def write(frame, path):
    if path.suffix == ".csv":
        frame.write_csv(path)
    elif path.suffix == ".parquet":
        frame.write_parquet(path, row_group_size=17)
    else:
        path.mkdir()
        for i, start in enumerate((0, 8, 9, 40)):
            stop = (8, 9, 40, len(frame))[i]
            frame[start:stop].write_parquet(path / f"{i}.parquet", row_group_size=10)
        frame.clear().write_parquet(path / "4.parquet")
    return path


def parts_of(path, values, columns=None, require=True):
    opened = stream_csv if path.suffix == ".csv" else stream_parquet
    return opened(path, "y", MISSING, require, columns, values=values)


@pytest.mark.parametrize("numeric", ["standard", "quantile"])
@pytest.mark.parametrize("name", ["d.csv", "d.parquet", "folder"])
def test_prepared_rows_are_those_of_the_whole_to_the_bit(tmp_path, name, numeric):
    path = write(mixed(), tmp_path / name)
    whole = read(path, "y").records
    preprocessing = fit_preprocessing(whole, numeric)
    expected = preprocessing.transform(whole)
    assert preprocessing.column_names is not None
    assert "never" not in preprocessing.column_names
    for values in PARTS:
        parts = list(parts_of(path, values, preprocessing.column_names))
        assert len(parts) > 1 or values == 10**6
        assert all(part.columns == preprocessing.column_names for part in parts)
        assert np.array_equal(np.concatenate([preprocessing.transform(part) for part in parts]), expected)
        assert np.concatenate([part.known_labels() for part in parts]).tolist() == whole.labels.tolist()


FORMS = [
    (Form(separator=";", decimal=","), "y"),
    (Form(separator=";", decimal=",", header=False), "-1"),
    (Form(separator="|", header=False), "c4"),
    (Form(separator="\t", header=True), "y"),
]


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize(("form", "target"), FORMS)
def test_forms_are_those_of_the_whole_to_the_bit(tmp_path, form, target, quoted):
    decimal = form.decimal or "."
    head = ["number", "code", "town", "gap", "y"]
    rows = [
        [
            f"{i / 7:.4f}".replace(".", decimal),
            f"{i % 3}{decimal}0" if i < 40 else "x",
            ["r", "NA"][i % 2],
            "",
            "nyp"[i % 3],
        ]
        for i in range(60)
    ]
    if quoted:
        rows[30][2] = f'"r{form.separator}\n"'
    path, mark = tmp_path / "d.csv", form.separator
    lines = [mark.join(row) for row in (rows if form.header is False else [head, *rows])]
    path.write_text("\n\n" + "\n".join(lines) + "\n\n")
    whole = read(path, target, form=form).records
    preprocessing = fit_preprocessing(whole)
    expected = preprocessing.transform(whole)
    assert expected.shape[1] > 5
    for values in PARTS:
        parts = list(stream_csv(path, target, MISSING, True, preprocessing.column_names, form, values))
        assert np.array_equal(np.concatenate([preprocessing.transform(part) for part in parts]), expected)
        assert np.concatenate([part.known_labels() for part in parts]).tolist() == whole.labels.tolist()
    assert not any("town" in preprocessing.unknown(preprocessing.transform(part)) for part in parts)
    bare = tmp_path / "bare.csv"
    bare.write_text("\n".join(line.rpartition(mark)[0] for line in lines))
    further = replace(form, features=4)
    parts = stream_csv(bare, whole.target, MISSING, False, preprocessing.column_names, further, 90)
    assert np.array_equal(np.concatenate([preprocessing.transform(part) for part in parts]), expected)


@pytest.mark.parametrize(
    ("content", "form", "said"),
    [
        ("a;y\n1;u\n2;v\n", Form(), "seem separated by ';'"),
        ("1.5,u\n2.5,u\n", Form(), "its first line looks like data"),
        ("a;y\n1,5;u\n1.5;v\n", Form(separator=";", decimal=","), "line 3: column 'a' holds '1.5', with a point"),
        ("1;u\n2;v;w\n", Form(separator=";", header=False), "line 2: 3 fields"),
        ("1;u;w\n", Form(separator=";", header=False, features=1), "3 columns, but the model was trained on 1"),
        ("", Form(header=False), "is empty"),
        ("\n\n", Form(header=False), "is empty"),
    ],
)
def test_refuses_other_forms(tmp_path, content, form, said):
    (tmp_path / "d.csv").write_text(content)
    target, name = ("-1", "c0") if form.header is False else ("y", "a")
    fitted = fit_preprocessing(Records(pl.DataFrame({name: [1.0, 2.0]}), None, "fitted"))
    with pytest.raises(GatewiseError) as caught:
        deque(map(fitted.transform, stream_csv(tmp_path / "d.csv", target, MISSING, True, [name], form, 1)), maxlen=0)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["d.csv", "d.parquet", "folder"])
def test_a_row_is_named_by_its_place_in_its_file(tmp_path, name):
    rows = 60
    frame = mixed(rows).with_columns(pl.Series("float", [1e39 if i == 43 else i / 7 for i in range(rows)]))
    preprocessing = fit_preprocessing(Records(mixed(rows).drop("y"), None, "fitted"))
    path = write(frame, tmp_path / name)
    place = {"d.csv": f"{path}, line 45", "d.parquet": f"{path}, row 44", "folder": f"{path / '3.parquet'}, row 4"}
    for values in PARTS:
        parts = parts_of(path, values, preprocessing.column_names)
        with pytest.raises(GatewiseError, match=r"column 'float' holds 1e\+39") as caught:
            deque(map(preprocessing.transform, parts), maxlen=0)
        assert str(caught.value).startswith(place[name])


def test_labels_are_not_looked_at_where_none_are_asked_for(tmp_path):
    path = write(mixed().with_columns(y=pl.lit(2.5)), tmp_path / "d.parquet")
    part = next(parts_of(path, 10**6, None, require=False))
    assert part.labels is None
    assert "y" not in part.columns
    assert set(next(parts_of(path, 10**6)).labels) == {"2.5"}


def test_columns_that_are_not_used_are_not_read_and_those_that_lack_are_left_to_the_model(tmp_path):
    for name in ("d.csv", "d.parquet"):
        path = write(mixed(), tmp_path / name)
        assert next(parts_of(path, 50, ["text", "int"])).columns == ["text", "int"]
        assert next(parts_of(path, 50, ["text", "other"])).columns == mixed().drop("y").columns


def test_names_with_dots_are_names(tmp_path):
    path = write(pl.DataFrame({"a": [1], "a.b": [2], "y": ["u"]}), tmp_path / "d.parquet")
    assert next(parts_of(path, 9, ["a"])).features.to_dict(as_series=False) == {"a": [1]}
    assert next(parts_of(path, 9, ["a.b"])).features.to_dict(as_series=False) == {"a.b": [2]}


def test_all_files_of_a_folder_are_looked_at_before_the_first_row(tmp_path):
    path = write(mixed(), tmp_path / "folder")
    mixed().drop("flag").write_parquet(path / "5.parquet")
    with pytest.raises(GatewiseError, match=r"5.parquet: column 'kind' of .* where the first file has 'flag'"):
        next(parts_of(path, 1))


def test_a_damaged_page_is_found_when_it_is_read(tmp_path):
    path = tmp_path / "d.parquet"
    frame = pl.DataFrame({"x": np.random.default_rng(0).normal(size=4000), "y": ["u"] * 4000})
    pyarrow.parquet.write_table(frame.to_arrow(), path, row_group_size=100, write_page_checksum=True)
    whole = bytearray(path.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 400] = b"\xff" * 400
    path.write_bytes(whole)
    with pytest.raises(GatewiseError, match="not a readable Parquet file"):
        list(parts_of(path, 100))


def test_arrays_and_bundled_data_are_one_part(tmp_path):
    np.savez(tmp_path / "d.npz", x_train=np.ones((3, 2)), y_train=[0, 1, 0], x_test=np.zeros((2, 2)), y_test=[1, 0])
    (part,) = stream(tmp_path / "d.npz")
    assert part.labels.tolist() == ["1", "0"]
    (part,) = stream("iris")
    assert len(part) == 150


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("x,y\n\n \n", "no rows"),
        ("x,y\n1,a\n2,b\n3\n", "line 4: 1 fields where the header has 2"),
        ("x,y\n1,a\n2,b\n3,c,d\n", "line 4: 3 fields"),
        ("x,y\n1,a\n\n2,b\n", "line 3: 0 fields"),
        ('x,y\n1,a\n"2\n",b\n3\n', "line 5: 1 fields"),
        ('x,y\n1,a\n2,"b\n3,c\n', "line 4: unexpected end of data; mend the quotes"),
        ("x,y\n1,a\n2,\0\n", "a binary file"),
        ("x,y\n1,a\n2,é\n".encode("latin-1"), "line 3: byte 0xE9, number 11 of the file, is not UTF-8 text"),
        ("x,x\n1,a\n", "'x' twice"),
        ("x,yy\n1,a\n", "did you mean 'yy'"),
    ],
)
@pytest.mark.parametrize("values", [1, 10**6])
def test_refuses_csv(tmp_path, content, said, values):
    path = tmp_path / "d.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(GatewiseError) as caught:
        list(parts_of(path, values))
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


FIELD = st.text(alphabet='ab1.,"\n é', max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(FIELD, min_size=3, max_size=3), min_size=1, max_size=6),
    width=st.integers(1, 3),
    quote=st.booleans(),
    values=st.integers(1, 9),
    end=st.sampled_from(["", "\n", "\n\n", " \n \n", "\r\n\r\n"]),
)
def test_parts_hold_the_fields_of_the_whole(tmp_path, rows, width, quote, values, end):
    rows = [row[:width] for row in rows]
    if not quote:
        rows = [[field.translate(str.maketrans("", "", ',"\n')) for field in row] for row in rows]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([["h", "i", "j"][:width], *rows])
    text = out.getvalue() if quote else "".join(",".join(row) + "\n" for row in [["h", "i", "j"][:width], *rows])
    path = tmp_path / "d.csv"
    path.write_bytes((text.removesuffix("\n") + end).encode())
    try:
        whole = _fields(path.read_text(encoding="utf-8-sig"), "name")
    except GatewiseError as error:
        with pytest.raises(GatewiseError, match=str(error).split(":")[1].strip()[:12]):
            list(stream_csv(path, None, MISSING, False, None, values=values))
        return
    if whole.is_empty():
        return
    found = pl.concat([part.features for part in stream_csv(path, None, MISSING, False, None, values=values)])
    assert [[f.strip() for f in row] for row in found.rows()] == [[f.strip() for f in row] for row in whole.rows()]


def test_a_file_of_many_row_groups_is_not_gathered_in_memory(tmp_path):
    path = tmp_path / "d.parquet"
    pl.DataFrame({f"x{i}": np.arange(50_000.0) for i in range(8)}).write_parquet(path, row_group_size=1000)
    held = []
    for part in stream_parquet(path, None, (), False, None, values=8 * 1500):
        held.append(pyarrow.total_allocated_bytes())
        del part
    assert len(held) == 50  # two groups, then 1500 and 500 rows of them
    assert max(held[-5:]) < 2 * max(held[:5])
