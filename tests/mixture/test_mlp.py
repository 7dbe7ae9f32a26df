"""Perceptrons, one and stacked."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gatewise.mixture import MLPBank, mlp
from tests.chance import seeded


def test_mlp_has_the_layers_it_should():
    layers = [type(layer).__name__ for layer in mlp(4, (5, 6), 3, dropout=0.1)]
    assert layers == ["Flatten", "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert [type(layer).__name__ for layer in mlp(4, (), 3)] == ["Flatten", "Linear"]
    assert mlp(4, (5,), 3)(torch.randn(7, 2, 2)).shape == (7, 3)


@given(
    st.integers(1, 4),
    st.integers(1, 5),
    st.lists(st.integers(1, 5), max_size=3),
    st.integers(1, 4),
    st.lists(st.integers(0, 4), min_size=4, max_size=4),
)
def test_a_bank_is_its_experts(experts, features, hidden, outputs, counts):
    torch.manual_seed(0)
    bank = MLPBank(experts, features, hidden, outputs).double()
    for bias in bank.biases:
        nn.init.uniform_(bias, -1, 1)
    modules = [bank.expert(k) for k in range(experts)]
    x = torch.randn(6, features, generator=seeded(1), dtype=torch.float64)
    torch.testing.assert_close(bank(x), torch.stack([module(x) for module in modules], dim=1))
    counts = counts[:experts]
    rows = torch.randn(sum(counts), features, generator=seeded(2), dtype=torch.float64)
    expected = [module(part) for module, part in zip(modules, rows.split(counts), strict=True)]
    torch.testing.assert_close(bank.grouped(rows, counts), torch.cat(expected))


def test_rows_are_flattened():
    bank = MLPBank(2, 12, (5,), 3)
    x = torch.randn(4, 3, 2, 2)
    torch.testing.assert_close(bank(x), bank(x.flatten(1)))
    torch.testing.assert_close(bank.grouped(x, [1, 3]), bank.grouped(x.flatten(1), [1, 3]))


def test_an_expert_is_a_copy():
    bank = MLPBank(2, 3, (), 2)
    module = bank.expert(1)
    with torch.no_grad():
        module[1].weight.zero_()
    assert bank.weights[0][1].norm() > 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_an_expert_has_the_banks_type_and_dropout(dtype):
    module = MLPBank(2, 3, (4,), 2, dropout=0.25).to(dtype).expert(0)
    assert all(p.dtype == dtype for p in module.parameters())
    assert [layer.p for layer in module if isinstance(layer, nn.Dropout)] == [0.25]


def test_experts_start_unlike_each_other_and_without_bias():
    """Uniform with He's bound √(6/in) before a ReLU and 1/√in for the outputs; biases 0."""
    torch.manual_seed(0)
    bank = MLPBank(200, 16, (9,), 5)
    for weight, bound in zip(bank.weights, ((6 / 16) ** 0.5, (1 / 9) ** 0.5), strict=True):
        weight = weight.detach()
        assert 0.98 * bound < weight.abs().max() <= bound
        assert weight.mean().abs() < 0.05 * bound
        assert weight.std() == pytest.approx(bound / 3**0.5, rel=0.05)
        assert not torch.equal(weight[0], weight[1])
    assert all((bias == 0).all() for bias in bank.biases)


def test_reset_parameters_draws_anew():
    bank = MLPBank(2, 3, (4,), 2)
    before = [weight.clone() for weight in bank.weights]
    with torch.no_grad():
        bank.biases[0].fill_(7.0)
    bank.reset_parameters()
    assert not any(torch.equal(old, new) for old, new in zip(before, bank.weights, strict=True))
    assert (bank.biases[0] == 0).all()


def test_dropout_keeps_the_mean_and_is_drawn_for_every_expert():
    torch.manual_seed(0)
    bank = MLPBank(2, 1, (4000,), 1, dropout=0.5)
    with torch.no_grad():
        for parameter in bank.parameters():
            parameter.fill_(0.0)
        bank.biases[0].fill_(1.0)
        bank.weights[1].fill_(1 / 4000)
    outputs = bank(torch.zeros(3, 1)).squeeze(-1)
    assert outputs.unique().numel() == 6
    torch.testing.assert_close(outputs, torch.ones(3, 2), atol=0.1, rtol=0)


def test_no_rows_give_an_empty_answer():
    bank = MLPBank(3, 4, (5,), 2).to(torch.bfloat16)
    empty = bank.grouped(torch.zeros(0, 4, dtype=torch.bfloat16), [0, 0, 0])
    assert empty.shape == (0, 2)
    assert empty.dtype == torch.bfloat16


def test_print_says_its_shape():
    assert "3 × 4 → 5 → 2, dropout=0.1" in repr(MLPBank(3, 4, (5,), 2, dropout=0.1))
