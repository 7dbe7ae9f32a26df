import numpy as np
import pytest

from gatewise.data import BUNDLED, read


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("breast_cancer", (569, 30), ["benign", "malignant"]),
        ("digits", (1797, 8, 8), list("0123456789")),
        ("iris", (150, 4), ["setosa", "versicolor", "virginica"]),
        ("teacher", (20000, 16), list("0123")),
        ("wine", (178, 13), ["class_0", "class_1", "class_2"]),
    ],
)
def test_bundled_data(name, shape, classes):
    records, test = read(name)
    assert test is None
    assert records.features.shape == shape
    assert sorted(set(records.labels)) == classes
    assert all(type(label) is str for label in records.labels)
    assert len(records.labels) == len(records) == shape[0]
    assert records.is_table == (name != "digits")
    assert records.target == ("target" if records.is_table else None)


def test_every_bundled_name_is_tested():
    marks = next(mark for mark in test_bundled_data.pytestmark if mark.name == "parametrize")
    assert {case[0] for case in marks.args[1]} == set(BUNDLED)


def test_digits_are_images():
    features = read("digits").records.features
    assert features.dtype == np.float32
    assert features.max() == 16


def test_iris_has_its_names():
    assert read("iris", "target").records.columns[0] == "sepal length (cm)"


def test_bundled_data_has_its_own_labels(refused):
    with refused("wine", "its own labels", "'income'"):
        read("wine", "income")
    assert read("wine", "income", require_target=False).records.labels is not None


@pytest.mark.parametrize("name", ["digit", "data.xlsx", "data.parquet.gz", "", "x" * 5000, "no\0name", 5])
def test_an_unknown_name_lists_what_there_is(name, refused):
    with refused("breast_cancer, digits, iris", ".csv, .tsv, .parquet, .npz", "folder"):
        read(name)


def test_a_near_name_is_suggested(refused):
    with refused("did you mean 'digits'?"):
        read("digit")


@pytest.mark.parametrize("ending", ["csv", "parquet", "npz", "CSV"])
def test_no_such_file(ending, refused, tmp_path):
    path = tmp_path / f"absent.{ending}"
    with refused(str(path), "no such file"):
        read(path, "y")


@pytest.mark.parametrize("ending", ["csv", "npz"])
def test_a_folder_where_a_file_should_be(ending, refused, tmp_path):
    path = tmp_path / f"folder.{ending}"
    path.mkdir()
    with refused(str(path), "a folder without .parquet files"):
        read(path, "y")


def test_a_bundled_name_wins_over_a_folder(tmp_path, monkeypatch, refused):
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert read("digits").records.name == "digits"
    with refused("digits: a folder without .parquet files"):
        read("./digits", "y")
