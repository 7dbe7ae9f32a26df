"""Dispatch: each distinct pair once, and back to every draw."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gatewise.mixture import MLPBank
from gatewise.mixture.grouped.dispatch import Dispatch


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


@pytest.mark.parametrize("strategy", ["padded", "segments"])
@pytest.mark.parametrize("index", [[[0, 2, 2, 0, 3]], [[0, 2, 2, 0, 3], [1, 0, 3, 2, 1]]])
def test_rows_of_blocks_are_moved_once_and_answer_the_same(index, strategy):
    torch.manual_seed(0)
    bank, index = MLPBank(5, 3, (4,), 2, strategy=strategy).double(), torch.tensor(index)
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    wanted = bank(x).transpose(0, 1)[index, torch.arange(5)]
    plan = bank.plan(index, x, distinct=True)
    values = plan.spread(plan.run(bank.grouped, x))
    assert plan.blocks is not None
    assert plan.counts == torch.bincount(index.flatten(), minlength=5).tolist()
    torch.testing.assert_close(values, wanted)
    torch.testing.assert_close(plan.gather(x)[plan.places], x.expand_as(x).repeat(len(index), 1).view(len(index), 5, 3))
    inputs, weight = (x, *bank.parameters()), torch.randn_like(wanted)
    first = [torch.autograd.grad(each, inputs, weight, create_graph=True) for each in (values, wanted)]
    for found, right in zip(*first, strict=True):
        torch.testing.assert_close(found, right)
    second = [
        torch.autograd.grad(sum(one.square().sum() for one in each), inputs, materialize_grads=True) for each in first
    ]
    for found, right in zip(*second, strict=True):
        torch.testing.assert_close(found, right)


def test_rows_are_sorted_where_not_every_entry_is_a_pair_or_the_subclass_does_not_know_of_it():
    class Own(MLPBank):
        def grouped(self, x, counts):
            return super().grouped(x, counts)

    x = torch.zeros(2, 3)
    bank, own = MLPBank(2, 3, (), 1, strategy="padded"), Own(2, 3, (), 1, strategy="padded")
    assert bank.plan(torch.tensor([[0, 1]]), x).blocks is not None
    for case in ([[0, -1]], [[0, 1], [0, 1]]):
        assert bank.plan(torch.tensor(case), x).blocks is None
    assert bank.plan(torch.zeros(1, 0, dtype=torch.long), x[:0]).blocks is None
    plan = own.plan(torch.tensor([[0, 1]]), x)
    assert plan.run(own.grouped, x).shape == (2, 1)
