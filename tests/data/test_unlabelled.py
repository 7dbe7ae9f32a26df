"""Rows without a target are left out and counted, in whatever file and form; what stands for a missing target."""

import math

import numpy as np
import polars as pl
import pytest

from gatewise.data import Form, StoredRows, read, stream
from gatewise.data.number_format import PLAIN, NumberFormat
from gatewise.data.streaming.parquet_table import StoredTable
from gatewise.data.streaming.records import SplitByPlace
from gatewise.data.unlabelled import Labelled, said_of_unlabelled

CLASSES = ["yes", "no", "NA", "", "?", "nan", "N/A", "#N/A", "null", "NULL", "NaN", "<NA>", "no"]
PRICES = ["1.5", "NA", "2", "-", "None", ".", "", "nan", r"\N", "3e1"]


@pytest.fixture(params=[".csv", ".parquet"])
def write(request, tmp_path):
    def make(name="t", **columns):
        path = tmp_path / f"{name}{request.param}"
        frame = pl.DataFrame(columns)
        frame.write_csv(path) if request.param == ".csv" else frame.write_parquet(path, row_group_size=3)
        return path

    return make


def numbered(values):
    return {"x": [float(i) for i in range(len(values))], "y": values}


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_a_mark_that_is_a_number_is_one_in_further_rows_too(tmp_path, ending):
    """-999 is missing; a column of floats has it as -999.0, and a model that knows the form of its target knows it."""
    further = pl.DataFrame({"x": [0.0, 1.0, 2.0], "y": [1.5, -999.0, 2.5]})
    path = tmp_path / f"further{ending}"
    further.write_parquet(path) if ending == ".parquet" else further.write_csv(path)
    form = Form(formats={}, classes=frozenset(), target_format=PLAIN)
    for parts in (
        [read(path, "y", missing=["", "-999"], form=form).records],
        stream(path, "y", missing=["", "-999"], form=form),
    ):
        rows = list(parts)
        assert [label for part in rows for label in part.labels] == ["1.5", "2.5"]
        assert sum(part.unlabelled["-999.0"] for part in rows) == 1


def test_the_two_zeros_of_a_float_are_one_class(tmp_path):
    path = tmp_path / "t.parquet"
    pl.DataFrame({"x": [1.0, 2.0, 3.0], "y": [0.0, -0.0, 1.0]}).write_parquet(path)
    assert read(path, "y").records.labels.tolist() == ["0", "0", "1"]


def test_classes(write):
    records = read(write(**numbered(CLASSES)), "y").records
    assert records.labels.tolist() == ["yes", "no", "no"]
    assert records.features["x"].to_list() == [0, 1, 12]
    assert records.place(2).endswith("row 13")
    assert sum(records.unlabelled.values()) == 10
    assert records.unlabelled["NA"] == records.unlabelled[""] == 1
    said = said_of_unlabelled(records.unlabelled, records.targets, records.missing)
    assert said.startswith("Left out 10 rows without a target (")
    assert "1 'NA'" in said
    assert "1 empty" in said
    assert "--set missing_target=error" in said
    assert "--set missing_target=class" in said


def test_numbers(write):
    records = read(write(**numbered(PRICES)), "y").records
    assert records.labels.tolist() == ["1.5", "2", "3e1"]
    assert records.targets["y"].format == PLAIN
    assert sum(records.unlabelled.values()) == 7


@pytest.mark.parametrize("labels", [["+", "-"] * 3, ["None", "Mild", "Severe"], ["a", "."], ["--", "x"]])
def test_what_may_be_a_class_is_one_where_labels_are_no_numbers_and_that_is_said(write, labels):
    records = read(write(**numbered(labels)), "y").records
    assert records.labels.tolist() == labels
    said = said_of_unlabelled(records.unlabelled, records.targets, records.missing)
    assert (said is None) == ("+" in labels)
    if said is not None:
        word = next(label for label in labels if label in records.targets["y"].kept)
        assert f"Taken for a class of 'y': {word!r} in 1 row" in said
        assert f'missing=["", "?", "{word}"]' in said
        again = read(write("u", **numbered(labels)), "y", missing=["", "?", word]).records
        assert again.labels.tolist() == [label for label in labels if label != word]


def test_a_list_of_ones_own(write):
    path = write(**numbered(["a", "none given", "NA", "b"]))
    assert read(path, "y", missing=["", "none given"]).records.labels.tolist() == ["a", "b"]
    form = Form(missing_numbers=())
    assert read(path, "y", form=form).records.labels.tolist() == ["a", "none given", "NA", "b"]
    sentinels = write("s", **numbered([15, -999, 25]))
    assert read(sentinels, "y", missing=["-999"]).records.labels.tolist() == ["15", "25"]


def test_every_text_a_class(write):
    records = read(write(**numbered(["yes", "NA", "", "no"])), "y", form=Form(missing_target="class")).records
    assert records.labels.tolist() == ["yes", "NA", "no"]
    assert records.unlabelled == {"": 1}


def test_rows_without_a_target_as_an_error(write, refused):
    path = write(**numbered(["a", "", "NA", "b", "", ""]))
    line = "line 3, line 4, line 6, …" if path.suffix == ".csv" else "row 2, row 3, row 5, …"
    with refused(str(path), "4 of 6 rows have no target (3 empty, 1 'NA'), " + line, "--set missing_target=drop"):
        read(path, "y", form=Form(missing_target="error"))
    with refused("none of 2 rows has a target (1 empty, 1 '?')"):
        read(write("none", **numbered(["", "?"])), "y")


def test_nulls_and_nan(tmp_path, refused):
    path = tmp_path / "t.parquet"
    values = pl.Series([1.5, None, math.nan, 2.5], dtype=pl.Float64)
    pl.DataFrame({"x": [0.0, 1, 2, 3], "y": values}).write_parquet(path)
    records = read(path, "y").records
    assert (records.labels.tolist(), dict(records.unlabelled)) == (["1.5", "2.5"], {"": 2})
    np.savez(tmp_path / "t.npz", x=np.zeros((4, 2)), y=values.to_numpy())
    records = read(tmp_path / "t.npz").records
    assert (records.labels.tolist(), dict(records.unlabelled)) == (["1.5", "2.5"], {"": 2})


def test_several_labels(write):
    path = write(x=[0.0, 1, 2, 3], a=["u", "NA", "v", ""], b=["1", "0", "-", ""])
    records = read(path, "a,b").records
    assert records.labels.tolist() == [["u", "1"]]
    assert dict(records.unlabelled) == {"NA": 1, "": 1, "-": 1}


def test_prediction_keeps_all_rows(write):
    path = write(**numbered(CLASSES))
    assert len(read(path, "y", require_target=False).records) == len(CLASSES)
    assert sum(map(len, stream(path, "y", require_target=False))) == len(CLASSES)


def test_further_rows_are_judged_by_what_the_model_knows(write):
    known = Form(classes=frozenset({"yes", "no", "NA"}))
    parts = Labelled(stream(write(**numbered(CLASSES)), "y", form=known))
    assert [label for part in parts for label in part.labels] == ["yes", "no", "NA", "no"]
    assert parts.unlabelled.total() == 9
    loose = Form(classes=frozenset(), target_format=NumberFormat(loose=True))
    parts = Labelled(stream(write("p", **numbered(["1", "2 - 4", "x", "NA"])), "y", form=loose))
    assert [label for part in parts for label in part.labels] == ["1", "2 - 4"]
    assert dict(parts.unlabelled) == {"what is no number": 1, "NA": 1}


def test_further_rows_of_which_none_has_a_target(write, refused):
    with refused("none of 2 rows has a target (1 empty, 1 'NA')"):
        list(Labelled(stream(write(**numbered(["", "NA"])), "y")))


class TestOnDisk:
    @pytest.fixture
    def table(self, tmp_path):
        def make(values, **form):
            frame = pl.DataFrame({"x": [float(i) for i in range(len(values))], "y": values})
            frame.write_parquet(tmp_path / "t.parquet", row_group_size=50)
            return StoredTable.open(tmp_path / "t.parquet", "y", ("", "?"), Form(**form))

        return make

    def test_the_rows_are_those_in_memory(self, table):
        values = [["yes", "no", "NA", None, "None"][i % 5] if i < 200 else "no" for i in range(300)]
        stored = table(values)
        whole = read(stored.path, "y").records
        rows = StoredRows(stored)
        assert len(rows) == len(whole) == 220
        assert dict(rows.unlabelled) == dict(whole.unlabelled) == {"NA": 40, "": 40}
        assert np.concatenate([part.labels for part in rows]).tolist() == whole.labels.tolist()
        assert rows.targets["y"].kept == {"None": 40}
        counts, _ = rows.label_counts
        assert sum(counts.values()) == 220
        split = SplitByPlace(0.2, 0.25, seed=3)
        parts = [StoredRows(stored, split, part, 3) for part in ("train", "validation", "test")]
        assert sum(map(len, parts)) == 220
        drawn = parts[0].shuffled(1, 64, ["x"])
        found = np.concatenate([part.features["x"].to_numpy() for part in drawn])
        assert len(found) == len(set(found)) == len(parts[0])
        assert {values[int(i)] for i in found} == {"yes", "no", "None"}

    def test_none_may_be_missing(self, table, refused):
        rows = StoredRows(table(["a", "", "NA", "b"] * 30, missing_target="error"))
        with refused("60 of 120 rows have no target", "row 2, row 3, row 6, …"):
            len(rows)
        with refused("none of 4 rows has a target"):
            len(StoredRows(table(["", "NA"] * 2)))

    def test_numbers_in_other_clothes(self, table):
        rows = StoredRows(table(["$1,250.50", "NA", "$3"] * 40))
        assert rows.targets["y"].format == NumberFormat(".", ",", "$")
        assert len(rows) == 80
