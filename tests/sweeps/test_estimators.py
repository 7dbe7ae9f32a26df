"""The sweep in its short form: few draws, at the ends of every range."""

import pytest

from tests.sweeps.estimators import ENDS, EXAMPLES, look, settings


@pytest.mark.parametrize("case", list(settings(ENDS)), ids=str)
def test_at_the_ends_of_its_range_it_is_finite_and_right(case):
    for example in EXAMPLES[:2] + EXAMPLES[-1:]:
        found = look(case, *example, draws=1000)
        assert found.finite
        assert found.away is None or found.away < 7
