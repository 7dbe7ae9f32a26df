import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.data import split


def labels(**counts):
    return np.repeat(np.array(list(counts), dtype=object), list(counts.values()))


@given(
    counts=st.lists(st.integers(20, 60), min_size=2, max_size=4),
    test_size=st.sampled_from([0.0, 0.2, 0.35]),
    validation_size=st.sampled_from([0.0, 0.25, 0.5]),
    seed=st.integers(0, 2**32 - 1),
)
def test_parts_are_disjoint_complete_and_in_proportion(counts, test_size, validation_size, seed):
    y = labels(**{f"class {i}": count for i, count in enumerate(counts)})
    parts = split(y, test_size=test_size, validation_size=validation_size, seed=seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(y)))
    assert len(parts.test) == np.ceil(test_size * len(y))
    rest = len(y) - len(parts.test)
    assert len(parts.validation) == np.ceil(validation_size * rest)
    for i, count in enumerate(counts):
        of_class = (y[parts.test] == f"class {i}").sum()
        assert abs(of_class - test_size * count) <= 1 + test_size
    again = split(y, test_size=test_size, validation_size=validation_size, seed=seed)
    assert all((a == b).all() for a, b in zip(parts, again, strict=True))


def test_seeds_differ():
    y = labels(a=50, b=50)
    one, two = (split(y, test_size=0.2, validation_size=0.2, seed=seed) for seed in (0, 1))
    assert one.test.tolist() != two.test.tolist()


@pytest.mark.parametrize(
    ("counts", "sizes", "parts"),
    [
        ({"a": 20, "b": 1}, (0.2, 0.2), ["class 'b'", "only 1 row,", "merge"]),
        ({"a": 20, "b": 1}, (0.0, 0.2), ["class 'b'", "only 1 row,"]),
        ({"a": 20, "b": 2}, (0.5, 0.5), ["class 'b'", "only 2 rows,"]),
        ({"a": 50, "b": 50, "c": 50}, (0.01, 0.2), ["test_size 0.01", "148 and 2", "3 classes"]),
        ({"a": 5, "b": 5}, (0.0, 0.95), ["validation_size 0.95", "0 and 10"]),
        ({"a": 20, "b": 20}, (1.0, 0.2), ["test_size is 1.0"]),
        ({"a": 20, "b": 20}, (0.2, -0.1), ["validation_size is -0.1"]),
        ({"a": 20, "b": 20}, (float("nan"), 0.2), ["test_size is nan"]),
    ],
)
def test_refuses(refused, counts, sizes, parts):
    with refused(*parts):
        split(labels(**counts), test_size=sizes[0], validation_size=sizes[1], seed=0)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_refuses_a_seed_out_of_range(refused, seed):
    with refused(f"the seed is {seed}"):
        split(labels(a=20, b=20), test_size=0.2, validation_size=0.2, seed=seed)
