import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.data import Classes


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
