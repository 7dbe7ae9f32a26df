"""The execution strategies of a bank: equal in value and gradients, and chosen by size and balance."""

import copy
import itertools
import pickle
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gatewise.errors import GatewiseError
from gatewise.mixture import MLPBank
from gatewise.mixture.grouped.blocks import Blocks
from gatewise.mixture.grouped.buffers import KEPT, BufferPool
from gatewise.mixture.grouped.strategies import STRATEGIES, choose, types
from tests.chance import seeded

FAST = ("auto", "segments", "padded")


def bank_and_rows(counts, features=4, hidden=(5, 6), outputs=3, dtype=torch.float64, dropout=0.0):
    torch.manual_seed(0)
    bank = MLPBank(len(counts), features, hidden, outputs, dropout).to(dtype)
    for bias in bank.biases:
        nn.init.uniform_(bias, -1, 1)
    rows = torch.randn(sum(counts), features, generator=seeded(1), dtype=torch.float64).to(dtype).requires_grad_()
    return bank, rows


def answer(bank, rows, counts, strategy, **options):
    """Outputs, and the gradients of rows and parameters of a fixed weighted sum of squares."""
    bank.strategy = strategy
    out = bank.grouped(rows, counts)
    weight = torch.linspace(-1, 2, out.numel(), dtype=torch.float64).view_as(out)
    inputs = [tensor for tensor in (rows, *bank.parameters()) if tensor.requires_grad]
    return out, torch.autograd.grad((weight * out.double().square()).sum(), inputs, **options)


def assert_equal(found, expected, **tolerance):
    torch.testing.assert_close(found[0], expected[0], **tolerance)
    for one, other in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(one, other, **tolerance)


COUNTS = st.lists(st.sampled_from([0, 0, 1, 2, 5, 17]), min_size=1, max_size=5).filter(sum)


@given(COUNTS, st.lists(st.integers(1, 5), max_size=3), st.integers(0, 2**7 - 1))
def test_every_way_gives_the_values_and_gradients_of_plain_operations(counts, hidden, frozen):
    bank, rows = bank_and_rows(counts, hidden=hidden)
    for position, tensor in enumerate((rows, *bank.parameters())):
        tensor.requires_grad_(not frozen >> position & 1)
    if not any(tensor.requires_grad for tensor in (rows, *bank.parameters())):
        rows.requires_grad_()
    expected = answer(bank, rows, counts, "loop")
    for strategy in FAST:
        assert_equal(answer(bank, rows, counts, strategy), expected)
        with torch.no_grad():
            torch.testing.assert_close(bank.grouped(rows, counts), expected[0])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_rows_give_an_empty_answer(strategy):
    bank, rows = bank_and_rows([0, 0])
    bank.strategy = strategy
    out = bank.grouped(rows, [0, 0])
    assert (out.shape, out.dtype) == ((0, 3), torch.float64)


@pytest.mark.parametrize("strategy", FAST)
def test_second_derivatives_are_those_of_plain_operations(strategy):
    counts = [3, 0, 1]
    found = {}
    for name in (strategy, "loop"):
        bank, rows = bank_and_rows(counts)
        out, first = answer(bank, rows, counts, name, create_graph=True)
        again = sum(gradient.square().sum() for gradient in first)
        found[name] = out, torch.autograd.grad(again, [rows, *bank.parameters()])
    assert_equal(found[strategy], found["loop"])


@given(COUNTS, st.integers(1, 4), st.sampled_from([0.0, 0.5]))
def test_blocks_of_any_size_give_the_values_and_gradients_of_plain_operations(counts, most, dropout):
    bank, rows = bank_and_rows(counts, dropout=dropout)
    found = []
    for run in ("blocks", "loop"):
        torch.manual_seed(2)
        with mock.patch("gatewise.mixture.grouped.strategies.together", return_value=most):
            found.append(answer(bank, rows, counts, "segments" if run == "blocks" else "loop"))
    assert_equal(*found)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_second_derivatives_through_blocks(dropout):
    counts = [5, 4, 0, 3, 3]
    bank, rows = bank_and_rows(counts, dropout=dropout)
    second = []
    for strategy in ("segments", "loop"):
        torch.manual_seed(2)
        with mock.patch("gatewise.mixture.grouped.strategies.together", return_value=2):
            first = answer(bank, rows, counts, strategy, create_graph=True)[1]
        second.append(torch.autograd.grad(sum(grad.square().sum() for grad in first), [rows, *bank.parameters()]))
    for one, other in zip(*second, strict=True):
        torch.testing.assert_close(one, other)


def test_what_is_in_a_block_and_what_stays_alone():
    cut = Blocks.cut([10, 9, 0, 10, 300, 300, 10, 2, 8], 2)
    assert [(block.first, block.number, block.height) for block in cut] == [
        (0, 2, 10),  # 20 padded rows for 19
        (3, 1, 10),  # its neighbour has 300
        (4, 1, 300),  # enough rows alone
        (5, 1, 300),
        (6, 1, 10),
        (7, 1, 2),
        (8, 1, 8),
    ]
    assert (cut.left_out, cut.padded, cut.size, cut.room) == ([2], True, 650, 300)
    rows = torch.arange(649.0).unsqueeze(1)
    assert torch.equal(cut.unpad(cut.pad(rows, rows.new_empty)), rows)
    assert [len(part) for part in cut.parts(cut.pad(rows, rows.new_empty))] == cut.counts
    alone = Blocks.cut([3, 0, 2], 1)
    assert (alone.padded, alone.pad(rows, rows.new_empty) is rows) == (False, True)


def test_second_derivatives_pass_the_same_dropout():
    bank, rows = bank_and_rows([3, 4], dropout=0.4)
    bank.strategy = "segments"
    torch.manual_seed(3)
    once = bank.grouped(rows, [3, 4])
    again = [torch.autograd.grad(once.sum(), rows, create_graph=graph, retain_graph=True)[0] for graph in (0, 1)]
    torch.testing.assert_close(*again)


@pytest.mark.parametrize("dropout", [0.3, 1.0])
def test_segments_draw_the_dropout_that_plain_operations_draw(dropout):
    counts = [3, 0, 6]
    bank, rows = bank_and_rows(counts, dropout=dropout)
    found = {}
    for strategy in ("segments", "loop"):
        torch.manual_seed(5)
        found[strategy] = answer(bank, rows, counts, strategy)
    assert_equal(found["segments"], found["loop"])
    bank.eval()
    assert_equal(answer(bank, rows, counts, "segments"), answer(bank, rows, counts, "loop"))


@pytest.mark.parametrize("strategy", ["segments", "padded"])
def test_dropout_is_repeatable_and_keeps_its_share(strategy):
    """20 000 units kept with probability 0.7: a share 0.02 off, six standard deviations, would fail."""
    bank = MLPBank(2, 1, (10_000,), 1, dropout=0.3, strategy=strategy)
    with torch.no_grad():
        for parameter in bank.parameters():
            parameter.fill_(0.0)
        bank.biases[0].fill_(1.0)
        bank.weights[1].fill_(0.7 / 10_000)
    drawn = []
    for _ in range(2):
        torch.manual_seed(7)
        drawn.append(bank.grouped(torch.zeros(2, 1), [1, 1]))
    assert torch.equal(*drawn)
    assert drawn[0][0] != drawn[0][1]
    assert drawn[0].mean().item() == pytest.approx(0.7, abs=0.02)


def test_a_bank_used_twice_in_one_graph_and_gradients_that_accumulate():
    """Large enough that memory is kept; a block given out too early would change what was written before."""
    counts = [60, 0, 42]
    bank, rows = bank_and_rows(counts, 32, (400,), 32)
    twins = {strategy: copy.deepcopy(bank) for strategy in ("segments", "loop")}
    for strategy, twin in twins.items():
        twin.strategy = strategy
        for _ in range(3):
            inner = twin.grouped(rows, counts)
            twin.grouped(inner.tanh(), counts).square().sum().backward()
            twin.grouped(rows, counts).square().sum().backward()
        nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        (3 * twin.grouped(rows, counts)).sum().backward()
    for one, other in zip(*(twin.parameters() for twin in twins.values()), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_gradients_that_someone_holds_stay_as_they_are():
    counts = [64]
    bank, rows = bank_and_rows(counts, 64, (640,), 64)
    bank.strategy = "segments"

    def step():
        bank.zero_grad()
        bank.grouped(rows, counts).square().sum().backward()
        return bank.weights[0].grad

    held = [step() for _ in range(KEPT + 2)]
    assert len({gradient.data_ptr() for gradient in held}) == KEPT + 2
    assert all(torch.equal(held[0], gradient) for gradient in held)
    array = step().numpy()
    before = array.copy()
    with torch.no_grad():
        bank.weights[0].mul_(2)
    step()
    assert (array == before).all()


def test_a_gradient_nobody_holds_is_written_where_the_last_one_was():
    """So no step makes new memory as large as the parameters, and `.grad` is what was written, not a copy."""
    counts = [64, 0]
    bank, rows = bank_and_rows(counts, 64, (640,), 64)
    bank.strategy = "segments"
    places = set()
    for _ in range(4):
        bank.zero_grad()
        bank.grouped(rows, counts).sum().backward()
        places.add(bank.weights[0].grad.data_ptr())
        assert (bank.weights[0].grad[1] == 0).all()
        bank.weights[0].grad.fill_(torch.nan)  # what is left there must not come through
    assert len(places) == 1
    blocks = {block.data_ptr() for kept in bank._pool._blocks.values() for block in kept}
    assert places <= blocks


def test_hooks_on_parameters_see_and_change_their_gradients():
    counts = [2, 3]
    bank, rows = bank_and_rows(counts)
    bank.strategy = "segments"
    plain = answer(bank, rows, counts, "segments")[1][1]
    bank.weights[0].register_hook(lambda gradient: 2 * gradient)
    torch.testing.assert_close(answer(bank, rows, counts, "segments")[1][1], 2 * plain)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda bank: pickle.loads(pickle.dumps(bank))])
def test_copies_of_a_bank_share_nothing(copied):
    counts = [64]
    bank, rows = bank_and_rows(counts, 64, (640,), 64)
    bank.strategy = "segments"
    expected = answer(bank, rows, counts, "segments")
    twin = copied(bank)
    assert twin._pool is not bank._pool
    assert not twin._pool._blocks
    assert_equal(answer(twin, rows, counts, "segments"), expected)


def test_memory_is_given_back_when_training_ends():
    counts = [64]
    bank, rows = bank_and_rows(counts, 64, (640,), 64)
    answer(bank, rows, counts, "segments")
    assert bank._pool._blocks
    bank.eval()
    assert not bank._pool._blocks


def test_scratch_gives_a_block_out_again_only_when_nothing_uses_it():
    pool, like = BufferPool(), torch.empty(0)
    first = pool.take("a", (600, 600), like)
    place, view = first.data_ptr(), first[3:]
    del first
    second = pool.take("a", (600, 600), like)
    assert second.data_ptr() != place  # the view still uses it
    del view
    assert pool.take("b", (600, 600), like).data_ptr() != place
    assert pool.take("a", (100, 600), like).data_ptr() != place  # a small part would keep all of it
    assert pool.take("a", (500, 600), like).data_ptr() == place
    assert second.data_ptr() not in (place, pool.take("a", (600, 600), like).data_ptr())


@pytest.mark.parametrize("strategy", FAST)
def test_bfloat16_is_float32_to_its_precision(strategy):
    """Weights and rows are those of bfloat16 in both; 2^-8 a rounding, and a few roundings."""
    counts = [40, 0, 24]
    low, rows = bank_and_rows(counts, 16, (32,), 8, torch.bfloat16)
    wide = copy.deepcopy(low).double()
    out, gradients = answer(low, rows, counts, strategy)
    expected = answer(wide, rows.detach().double().requires_grad_(), counts, "loop")
    assert out.dtype == torch.bfloat16
    for found, exact in zip((out, *gradients), (expected[0], *expected[1]), strict=True):
        assert found.dtype == torch.bfloat16
        assert (found.double() - exact).norm() <= 0.02 * exact.norm()


def test_under_autocast_outputs_have_its_type_and_gradients_the_parameters():
    counts = [40, 24]
    bank, rows = bank_and_rows(counts, 16, (32,), 8, torch.float32)
    with torch.no_grad():  # far from the corner of ReLU, where a rounding would turn a unit on or off
        bank.biases[0].copy_(10 * torch.tensor([1.0, -1.0]).repeat(16))
    expected = answer(copy.deepcopy(bank).double(), rows.detach().double().requires_grad_(), counts, "loop")
    for strategy in STRATEGIES:
        with torch.autocast("cpu", torch.bfloat16):
            out, gradients = answer(bank, rows, counts, strategy)
        assert out.dtype == torch.bfloat16
        for found, exact in zip((out, *gradients), (expected[0], *expected[1]), strict=True):
            assert (found.double() - exact).norm() <= 0.03 * exact.norm()
        assert all(gradient.dtype == torch.float32 for gradient in gradients)


def weights_of(experts, *widths):
    return [torch.empty(experts, *shape) for shape in itertools.pairwise(widths)]


def test_the_choice_follows_size_and_balance():
    x, small = torch.zeros(1), weights_of(8, 64, 32, 10)
    assert choose([8] * 8, x, small) == "padded"
    assert choose([512] * 8, x, weights_of(8, 256, 1024, 256)) == "segments"
    # the work of 8 is little, that of the padding is not
    assert choose([4000] + [14] * 7, x, small) == "segments"
    # two of many large experts are asked
    assert choose([1, 1] + [0] * 254, x, weights_of(256, 256, 1024, 256)) == "segments"
    assert choose([8] * 8, x.to("meta"), [each.to("meta") for each in small]) == "loop"


def test_a_bank_takes_the_way_it_is_told(monkeypatch):
    from gatewise.mixture.grouped import strategies

    ran = []
    for name in ("fused_mlp", "padded", "loop"):
        whole = getattr(strategies, name)
        monkeypatch.setattr(strategies, name, lambda *given, name=name, whole=whole: ran.append(name) or whole(*given))
    bank, rows = bank_and_rows([2, 2])
    for strategy in STRATEGIES:
        bank.strategy = strategy
        bank.grouped(rows, [2, 2])
    assert ran == ["padded", "fused_mlp", "padded", "loop"]


def test_unknown_ways_are_refused():
    with pytest.raises(GatewiseError, match=r"unknown strategy 'pad' .*padded"):
        MLPBank(2, 3, (), 1, strategy="pad")
    bank = MLPBank(2, 3, (), 1)
    bank.strategy = "dense"
    with pytest.raises(GatewiseError, match=r"unknown strategy 'dense'"):
        bank.grouped(torch.zeros(1, 3), [1, 0])


def test_rows_of_another_type_are_refused_by_torch():
    bank = MLPBank(2, 3, (4,), 1)
    with pytest.raises(RuntimeError, match="dtype"):
        bank.grouped(torch.zeros(2, 3, dtype=torch.float64), [1, 1])


def test_the_type_to_multiply_in():
    x = torch.zeros(1)
    assert types(x, x) == (torch.float32, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert types(x, x)[1] == torch.bfloat16
        assert types(x.double(), x.double()) == (torch.float64, torch.float64)
