import numpy as np
import pytest

from gatewise import GatewiseError
from gatewise.data.targets import guess_head, target_numbers


def labels(*values):
    return np.array([str(value) for value in values], dtype=object)


@pytest.mark.parametrize(
    ("written", "head", "said"),
    [
        (labels("a", "b", "1"), "categorical", None),
        (labels(0, 1, 1, 0), "categorical", "2 whole numbers, taken for classes"),
        (labels(*range(20)), "categorical", "20 whole numbers"),
        (labels(*np.arange(30) / 7), "gaussian", "taken for numbers; for classes give --head categorical"),
        (labels(0.5, 1.5, 0.5), "categorical", "2 numbers, taken for classes"),
        (labels(*(i * i for i in range(40))), "gaussian", "for counts give --head poisson"),
        (labels(*range(-20, 20)), "gaussian", "for classes --head categorical"),
        (labels(*(i % 26 for i in range(26 * 8))), "categorical", "26 whole numbers without gaps"),
        (labels(*(i % 26 for i in range(26 * 7))), "gaussian", "26 whole numbers"),
        (labels(*range(40), "inf"), "categorical", None),
    ],
)
def test_what_a_target_is_taken_for(written, head, said):
    found, told = guess_head(written)
    assert found == head
    assert (told is None) if said is None else said in told


def test_numbers_are_read_as_they_were_written():
    assert target_numbers(labels("1e3", " 2.5", "-3"), "gaussian", str).tolist() == [1000, 2.5, -3]


@pytest.mark.parametrize(
    ("written", "head", "said"),
    [
        (labels(1, "many"), "gaussian", "row 1: the target is 'many', which is no number"),
        (labels(1, 2, "nan"), "student-t", "row 2: the target is 'nan', which is no number"),
        (labels(1, "inf"), "gaussian", "which is no number"),
        (labels(0, -1), "poisson", "row 1: the target is '-1', which is no count"),
        (labels(0, 1, 2.5), "poisson", "row 2: the target is '2.5', which is no count"),
    ],
)
def test_what_does_not_fit_the_head_is_refused(written, head, said):
    with pytest.raises(GatewiseError, match=said):
        target_numbers(written, head, lambda row: f"row {row}")
