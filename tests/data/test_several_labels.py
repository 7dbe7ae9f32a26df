"""Several labels a row, from every kind of file that holds them."""

import numpy as np
import polars as pl
import pytest

from gatewise import GatewiseError
from gatewise.data import Form, read, stream
from gatewise.data.targets import guess_head, target_labels, two_valued

ROWS = {
    "x": [0.5, 1.5, 2.5, 3.5],
    "wet": ["no", "yes", "no", "yes"],
    "hot, dry": [1, 0, 0, 1],
    "old": ["b", "a", "b", "b"],
}
TARGET = 'wet,"hot, dry"'
LABELS = [["no", "1"], ["yes", "0"], ["no", "0"], ["yes", "1"]]


@pytest.fixture(params=[".csv", ".parquet"])
def path(request, tmp_path):
    path = tmp_path / f"labels{request.param}"
    frame = pl.DataFrame(ROWS)
    frame.write_csv(path) if request.param == ".csv" else frame.write_parquet(path)
    return path


def test_a_table_has_them_in_the_order_in_which_they_are_named(path):
    records = read(path, TARGET).records
    assert records.labels.tolist() == LABELS
    assert records.columns == ["x", "old"]
    assert records.target == TARGET
    assert records.label_names == ["wet", "hot, dry"]
    assert records.take(np.array([1])).labels.tolist() == [["yes", "0"]]
    (part,) = stream(path, records.target)
    assert part.labels.tolist() == LABELS
    assert part.label_names == records.label_names
    backwards = read(path, '"hot, dry",wet').records
    assert backwards.labels.tolist() == [row[::-1] for row in LABELS]
    assert backwards.hash() != records.hash()


def test_one_column_whose_name_has_a_comma_is_one_target(path):
    records = read(path, "hot, dry").records
    assert records.labels.tolist() == ["1", "0", "0", "1"]
    assert read(path, records.target).records.labels.tolist() == records.labels.tolist()


def test_labels_are_kept_out_of_the_features_where_not_all_are_there(path, tmp_path):
    less = tmp_path / f"less{path.suffix}"
    frame = pl.DataFrame(ROWS).drop("wet")
    frame.write_csv(less) if path.suffix == ".csv" else frame.write_parquet(less)
    records = read(less, TARGET, require_target=False).records
    assert records.labels is None
    assert records.columns == ["x", "old"]
    with pytest.raises(GatewiseError, match=r"no column 'wet' to take the labels from .commas stand between several"):
        read(less, TARGET)


def test_without_a_header_they_are_numbered(tmp_path):
    path = tmp_path / "bare.csv"
    path.write_text("0.5,no,1\n1.5,yes,0\n2.5,no,0\n")
    records = read(path, "1,-1", form=Form(header=False)).records
    assert records.label_names == ["c1", "c2"]
    assert records.labels.tolist() == [["no", "1"], ["yes", "0"], ["no", "0"]]
    alone = tmp_path / "alone.csv"
    alone.write_text("0.5\n1.5\n")
    assert read(alone, "c1,c2", require_target=False, form=Form(header=False, features=1)).records.columns == ["c0"]
    with pytest.raises(GatewiseError, match=r"trained on 2 and the labels .c1,c2.* so give 2, or 4 with the labels"):
        read(path, "c1,c2", form=Form(header=False, features=2))


def test_an_array_has_a_column_for_each(tmp_path):
    path = tmp_path / "labels.npz"
    y = np.array([[0, 1], [1, 1], [1, 0]])
    np.savez(path, x=np.zeros((3, 2)), y=y)
    records = read(path).records
    assert records.labels.tolist() == [["0", "1"], ["1", "1"], ["1", "0"]]
    assert records.label_names == ["y0", "y1"]
    np.savez(path, x=np.zeros((3, 2)), y=np.zeros((3, 2, 2)))
    with pytest.raises(GatewiseError, match=r"y has shape .* or several, shape \[N, L\]"):
        read(path)


def test_the_larger_or_later_value_counts_as_one(path):
    records = read(path, TARGET).records
    assert guess_head(records.labels) == ("bernoulli", None)
    found = two_valued([records])
    assert [(name, values.names) for name, values in found] == [("wet", ("no", "yes")), ("hot, dry", ("0", "1"))]
    y = target_labels(records, ["wet", "hot, dry"], [values.names for _, values in found])
    assert y.dtype == np.float32
    assert y.tolist() == [[0, 1], [1, 0], [0, 0], [1, 1]]
    with pytest.raises(GatewiseError, match="the labels are 'wet', 'hot, dry', but the model was trained on 'wet'"):
        target_labels(records, ["wet"], [["no", "yes"]])
    with pytest.raises(GatewiseError, match=r"target 'wet': the label 'yes' is none of the classes known"):
        target_labels(records, ["wet", "hot, dry"], [["no", "maybe"], ["0", "1"]])
    with pytest.raises(GatewiseError, match=r"2 labels a row \('wet', 'hot, dry'\), and one is needed"):
        records.known_labels()


def test_a_label_of_more_or_less_than_two_values_is_named(path):
    with pytest.raises(GatewiseError, match=r"the target 'x' has 4 values .*mend or drop 'x', or train on one target"):
        two_valued([read(path, "wet,x").records])
    with pytest.raises(GatewiseError, match="the target 'old' has only 'b'"):
        two_valued([read(path, "wet,old").records.take(np.array([0, 3]))])
