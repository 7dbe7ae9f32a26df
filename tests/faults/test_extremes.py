"""Values and gradients stay finite, for every objective with every estimator that it takes."""

import pytest

import gatewise as gw
from gatewise.objectives import REGULARISERS

from .extremes import INPUTS, not_finite, not_finite_penalty, pairs

PAIRS = list(pairs())


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_every_pair_is_finite_everywhere(pair):
    bad = {name: found for name in INPUTS if (found := not_finite(pair, name))}
    assert not bad


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("regulariser", sorted(REGULARISERS))
def test_every_regulariser_is_finite_everywhere(regulariser, name):
    assert not not_finite_penalty(regulariser, name)


def test_every_objective_and_estimator_is_among_them():
    assert {pair.objective for pair in PAIRS} == set(gw.objectives.names())
    assert {pair.estimator for pair in PAIRS} >= {*gw.estimators.names(), "vimco", None}
