"""Row numbers and indices, as pandas, R and polars write them: never a feature in silence, and said."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from gatewise.data import Form, StoredRows, fit_preprocessing, read, stream
from gatewise.data.streaming.parquet_table import StoredTable

ROWS = 40
FRAME = pd.DataFrame({"x": np.arange(ROWS) % 7 / 2, "w": list("ab") * (ROWS // 2), "y": list("uuvv") * (ROWS // 4)})


def r_csv(frame, header='"","x","w","y"', names=None):
    """As R's documentation of write.csv and write.table has it: texts in quotes, row names first."""
    names = names or range(1, len(frame) + 1)
    rows = [f'"{name}",{x:g},"{w}","{y}"' for name, (x, w, y) in zip(names, frame.itertuples(index=False), strict=True)]
    return "\n".join([header, *rows]) + "\n"


WAYS = {
    "pandas": lambda path: FRAME.to_csv(path),
    "pandas from 1": lambda path: FRAME.set_axis(range(1, ROWS + 1)).to_csv(path),
    "pandas, shuffled": lambda path: FRAME.sample(frac=1, random_state=0).sort_values("x").to_csv(path),
    "pandas, twice": lambda path: (FRAME.to_csv(path), pd.read_csv(path).to_csv(path)),
    "pandas, read and written": lambda path: (FRAME.to_csv(path), pd.read_csv(path).to_csv(path, index=False)),
    "write.csv": lambda path: path.write_text(r_csv(FRAME)),
    "write.csv, names": lambda path: path.write_text(r_csv(FRAME, names=[f"car {i}" for i in range(ROWS)])),
    "write.table": lambda path: path.write_text("\n" + r_csv(FRAME, header='"x","w","y"')),
    "polars": lambda path: pl.DataFrame(FRAME.reset_index(names="__index_level_0__")).write_csv(path),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_column_of_row_numbers_is_left_out_and_said(tmp_path, way):
    path = tmp_path / "d.csv"
    WAYS[way](path)
    found = read(path, "y").records
    numbering = ["__index_level_0__"] if way == "polars" else found.columns[:-2]
    assert numbering
    assert [*found.row_numbers] == numbering
    preprocessing = fit_preprocessing(found)
    assert preprocessing.column_names == ["x", "w"]
    said = preprocessing.used(found)
    assert f"left out, as row numbers or an index: {', '.join(map(repr, numbering))} (--set 'keep=" in said
    assert fit_preprocessing(found, keep=["*"]).column_names == [*numbering, "x", "w"]
    parts = list(stream(path, "y", columns=["x", "w"]))
    expected = preprocessing.transform(found)
    assert np.array_equal(np.concatenate([preprocessing.transform(part) for part in parts]), expected)


@pytest.mark.parametrize("header", [",x,y", "Unnamed: 0,x,y", "x,y"])
def test_what_is_no_row_number_is_not_left_out(tmp_path, refused, header):
    """A column without a name whose values repeat or are fractions, or dates, may tell something."""
    path = tmp_path / "d.csv"
    for first in ("112", "135", ["2020-01-01", "2020-01-02", "2020-01-02"], ["0.5", "1", "2"]):
        path.write_text(header + "\n" + "".join(f"{a},{i},{'uv'[i % 2]}\n" for i, a in enumerate(first)))
        if "Unnamed" not in header and first != "135":
            with refused(str(path), "column 1 has no name", "--set 'drop=Unnamed: 0'"):
                read(path, "y")
            assert read(path, "y", drop=["Unnamed: 0"]).records.features["x"].to_list() == [0, 1, 2]
            assert read(path, "y", columns=["x"]).records.columns == ["x"]
        else:
            assert read(path, "y").records.row_numbers == (("Unnamed: 0",) if first == "135" else ())


def test_only_the_first_columns_are_of_row_numbers(tmp_path, refused):
    path = tmp_path / "d.csv"
    path.write_text("x,,y,\n1,1,u,\n2,2,v,\n")
    with refused("column 2 has no name"):
        read(path, "y")
    path.write_text("x,y,\n1,u,\n2,v,\n")  # a comma too many, as spreadsheets write it
    assert fit_preprocessing(read(path, "y").records).column_names == ["x"]
    path.write_text("x,y\n1,u,\n2,v,\n")
    with refused("line 2: 3 fields where the header has 2"):
        read(path, "y")


PARQUET = {
    "__index_level_0__": lambda frame: frame.sample(frac=1, random_state=0),
    "customer": lambda frame: frame.set_index(pd.Index(np.arange(ROWS) % 9, name="customer")),
    "Unnamed: 0": lambda frame: frame.reset_index(names="Unnamed: 0"),
}


@pytest.mark.parametrize("name", PARQUET)
def test_an_index_in_parquet_is_left_out_and_said(tmp_path, name):
    path = tmp_path / "d.parquet"
    PARQUET[name](FRAME).to_parquet(path)
    found, stored = read(path, "y").records, StoredRows(StoredTable.open(path, "y", ("",)))
    for rows in (found, stored):
        assert name in rows.columns
        preprocessing = fit_preprocessing(rows)
        assert {"x"} <= {*preprocessing.column_names} <= {"x", "w"}
        assert preprocessing.identifiers == (name,)
        assert f"left out, as {'row numbers or an index' if name in rows.row_numbers else 'nearly'}" in (
            preprocessing.used(rows)
        )
        assert name in fit_preprocessing(rows, keep=[name]).column_names
    assert read(path, "y", form=Form(reading=1)).records.row_numbers == ()


def test_metadata_that_is_damaged_names_no_index(tmp_path):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"x": [1, 2], "y": ["u", "v"]})
    for told in (
        b"{",
        b"[" * 10**5,
        b"7",
        b'{"index_columns": 7}',
        b'{"index_columns": [{"kind": "range"}, null]}',
        b"\xff",
    ):
        pyarrow.parquet.write_table(table.replace_schema_metadata({b"pandas": told}), tmp_path / "d.parquet")
        assert read(tmp_path / "d.parquet", "y").records.row_numbers == ()


TYPES = pl.DataFrame(
    {
        "x": [1.0, 2.0, 3.0],
        "list": [[1], None, [2]],
        "struct": [{"a": 1}, None, {"a": 2}],
        "raw": [b"\xff", None, b""],
        "mixed": ["1", "n/a", "9"],
        "y": ["u", "v", "u"],
    }
)


def test_columns_that_are_dropped_are_not_looked_at(tmp_path, refused):
    path = tmp_path / "d.parquet"
    TYPES.write_parquet(path)
    drop = ["list", "struct", "raw"]
    with refused("column 'list' holds List"):
        read(path, "y")
    found = read(path, "y", drop=[*drop, "not there"]).records
    assert found.columns == TYPES.columns[:-1]
    stored = StoredRows(StoredTable.open(path, "y", (), drop=drop))
    for rows in (found, stored):
        preprocessing = fit_preprocessing(rows, drop=drop)
        assert preprocessing.column_names == ["x", "mixed"]
        assert "left out, as asked or for no value or only rare ones: 'list', 'struct', 'raw'" in preprocessing.used(
            rows
        )
        with refused("drop names 'lists', which is no column", "did you mean 'list'"):
            fit_preprocessing(rows, drop=["lists"])
    assert len(list(stream(path, "y", columns=["x", "mixed"]))) == 1
    assert read(path, "y", columns=["mixed", "x"]).records.columns == ["mixed", "x"]
    (tmp_path / "d.csv").write_text("a,x,y\n" + "".join(f"{'#' if i == 3 else i},{i},u\n" for i in range(40)))
    with refused("'a' holds '#' where nearly all others"):
        read(tmp_path / "d.csv", "y")
    assert read(tmp_path / "d.csv", "y", drop=["a"]).records.features["x"].to_list() == list(range(40))
