import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.data import Classes
from gatewise.data.labels import spelled


def objects(*labels):
    return np.array(labels, dtype=object)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["10", "9", "-1", "9"], ("-1", "9", "10")),
        (["1.0", "1", "01"], ("01", "1", "1.0")),
        (["10", "9", "x"], ("10", "9", "x")),
        (["2", "10", "nan"], ("10", "2", "nan")),
        (["b", "NA", "a"], ("NA", "a", "b")),
    ],
)
def test_classes_are_sorted_by_value_where_all_are_numbers(labels, names):
    assert Classes.from_labels(objects(*labels)).names == names


@given(labels=st.lists(st.text(max_size=3), min_size=2, max_size=20).filter(lambda x: len(set(x)) > 1))
def test_encoding_goes_there_and_back(labels):
    classes = Classes.from_labels(objects(*labels))
    codes = classes.encode(objects(*labels))
    assert codes.dtype == np.int64
    assert [classes.names[code] for code in codes] == labels


def test_labels_are_found_by_what_they_mean_and_others_are_none():
    classes = Classes(("0", "1", "other"))
    assert classes.find(objects("1", "1.0", "true", "other", "01", "2", "")).tolist() == [1, 1, 1, 2, -1, -1, -1]


def test_no_rows_encode_to_none():
    assert Classes(("a", "b")).encode(objects()).shape == (0,)


def test_refuses_a_label_unseen(refused):
    classes = Classes.from_labels(objects("a", "b"))
    with refused("new.csv, row 2", "'c\\n'", "'a', 'b'"):
        classes.encode(objects("a", "c\n", "d"), "new.csv")
    many = Classes(tuple(str(i) for i in range(30)))
    with refused("'9', ... (30 in all)"):
        many.encode(objects("x"))


@pytest.mark.parametrize(("labels", "part"), [(["a", "a"], "only one class, 'a'"), ([], "no labels")])
def test_refuses_fewer_than_two_classes(refused, labels, part):
    with refused("data.csv", part):
        Classes.from_labels(objects(*labels), "data.csv")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["0", "0.0", "1", "1.00"], ["0", "0", "1", "1"]),
        (["1.50", "1.5", "-2.0", ""], ["1.5", "1.5", "-2", ""]),
        (["True", "FALSE", "true"], ["true", "false", "true"]),
        (["007", "7", "7.0"], ["007", "7", "7.0"]),
        (["1.0", "v1"], ["1.0", "v1"]),
        (["True", "maybe"], ["True", "maybe"]),
    ],
)
def test_labels_that_mean_the_same_are_one_class(labels, names):
    assert spelled(pl.Series(labels)).to_list() == names


@pytest.mark.parametrize(
    ("names", "label", "code"),
    [
        (("0", "1"), "1.0", 1),
        (("0", "1"), "True", 1),
        (("false", "true"), "0", 0),
        (("0.0", "1.0"), "1", 1),
        (("12", "100000"), "1e+05", 1),
        (("007", "12"), "7", 0),
        (("9007199254740993", "9007199254740992"), "9007199254740993.0", 0),
        (("7", "12"), "007", None),
        (("1", "1.0", "x"), "1.00", None),
        (("0", "1"), "nan", None),
        (("no", "yes"), "True", None),
    ],
)
def test_a_label_is_known_by_what_it_means(names, label, code, refused):
    if code is not None:
        assert Classes(names).encode(objects(label, names[0])).tolist() == [code, 0]
        return
    with refused("is none of the classes known"):
        Classes(names).encode(objects(label))
