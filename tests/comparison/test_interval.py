import pytest
from scipy import stats

from gatewise.comparison.summary import mean_interval


@pytest.mark.parametrize("values", [[1.0, 2.0], [0.3, 0.1, 0.2], [5.0, -1.0, 2.5, 2.5, 7.0]])
def test_it_is_the_t_interval(values):
    found = mean_interval(values)
    mean = sum(values) / len(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=stats.sem(values))
    assert found == pytest.approx({"mean": mean, "low": low, "high": high}, rel=1e-10)


def test_one_number_has_no_interval_and_equal_ones_an_empty_one():
    assert mean_interval([3.0]) == {"mean": 3.0, "low": None, "high": None}
    assert mean_interval([0.1, 0.1, 0.1]) == pytest.approx({"mean": 0.1, "low": 0.1, "high": 0.1})
