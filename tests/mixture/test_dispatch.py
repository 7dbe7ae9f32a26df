"""Dispatch: each distinct pair once, and back to every draw."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from gatewise.mixture.dispatch import Dispatch


@given(st.lists(st.lists(st.integers(-1, 3), min_size=5, max_size=5), min_size=1, max_size=5))
def test_dispatch_sorts_distinct_pairs_and_brings_them_back(rows):
    index = torch.tensor(rows)
    plan = Dispatch.plan(index, 4)
    x = torch.arange(5.0)
    experts = torch.repeat_interleave(torch.arange(4), torch.tensor(plan.counts))
    pairs = list(zip(plan.rows.tolist(), experts.tolist(), strict=True))
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == {(row, expert) for draw in rows for row, expert in enumerate(draw) if expert >= 0}
    values = plan.combine(plan.run(lambda own, counts: own + 10.0 * experts, x))
    assert torch.equal(values, torch.where(index >= 0, x + 10.0 * index, 0.0))
