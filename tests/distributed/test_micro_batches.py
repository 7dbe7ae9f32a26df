import pytest

import gatewise as gw
from gatewise.distributed import Group, micro_batches
from gatewise.training.step import TrainStep

from .work import made


def test_shares_are_all_rows_once():
    for rows in range(14, 40):
        for pieces in (1, 2, 3):
            found = []
            for rank in range(4):
                for part in micro_batches(rows, pieces, Group(rank, 4)):
                    found += range(part.start, part.start + part.rows)
            assert sorted(found) == list(range(rows))


def test_a_process_without_a_row_is_refused():
    with pytest.raises(gw.GatewiseError, match="does not give each of the 4 processes a row; take fewer processes"):
        micro_batches(7, 2, Group(0, 4))


def test_an_estimator_of_the_whole_batch_is_refused():
    mixture, _, config = made("marginal", {}, {})
    objective = gw.objectives.get("jensen", estimator=gw.estimators.get("implicit-mle", adaptive=True))
    with pytest.raises(gw.GatewiseError, match="'implicit-mle' with these options looks at a whole batch at once"):
        TrainStep(mixture, objective, [], config, 1, Group(0, 2))
