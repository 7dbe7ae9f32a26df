"""Heads, convolutional experts, dispatch and what a gate does with its experts."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gatewise as gw
from gatewise.mixture import Categorical, ConvExpert
from gatewise.mixture.dispatch import Dispatch
from gatewise.mixture.usage import effective_experts, entropy, experts_used, mutual_information

# Head


def test_categorical_is_the_log_softmax():
    outputs, y = torch.randn(4, 2, 3), torch.tensor([[0, 2], [1, 1], [2, 0], [0, 0]])
    expected = outputs.log_softmax(-1)
    torch.testing.assert_close(Categorical().log_probs(outputs), expected)
    torch.testing.assert_close(Categorical().log_prob(outputs, y), expected.gather(-1, y.unsqueeze(-1)).squeeze(-1))


def test_categorical_widens_narrow_outputs():
    outputs = torch.randn(4, 3)
    for dtype, wide in (
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float64, torch.float64),
    ):
        assert Categorical().log_probs(outputs.to(dtype)).dtype == wide


def test_a_head_of_ones_own():
    """Regression: the outputs are means of unit Gaussians."""

    class Gaussian:
        def log_prob(self, outputs, y):
            return -0.5 * (outputs.squeeze(-1) - y).square() - 0.5 * math.log(2 * math.pi)

        def log_probs(self, outputs):
            raise NotImplementedError

    mixture = gw.MixtureOfExperts(torch.nn.Linear(2, 3), gw.MLPBank(3, 2, (), 1), head=Gaussian())
    x, y = torch.randn(5, 2), torch.randn(5)
    observed = mixture.observe(x, y)
    means = mixture.experts(x).squeeze(-1)
    expected = torch.distributions.Normal(means, 1.0).log_prob(y.unsqueeze(1))
    torch.testing.assert_close(observed.at_all(), expected)
    index = torch.tensor([[0, 2, 1, 0, 2]])
    torch.testing.assert_close(observed.at_index(index), expected.gather(1, index.T).T)


# Convolutional expert


@pytest.mark.parametrize("shape", [(8, 8), (3, 8, 8), (1, 5, 7), (28, 28)], ids=str)
def test_conv_expert_on_images(shape):
    expert = ConvExpert(shape, 10, channels=2, dropout=0.1)
    x = torch.randn(4, *shape)
    expert(x).sum().backward()
    assert expert(x).shape == (4, 10)
    assert all(p.grad is not None for p in expert.parameters())


@pytest.mark.parametrize("shape", [(64,), (3, 8), (8, 3), (1, 1, 8, 8)], ids=str)
def test_conv_expert_refuses_what_is_no_image(shape):
    with pytest.raises(gw.GatewiseError, match=r"needs images.*use expert = 'mlp'"):
        ConvExpert(shape, 10)


# Dispatch


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


# Usage


def test_entropy_at_known_places():
    probs = torch.tensor([[0.25] * 4, [1.0, 0, 0, 0], [0.5, 0.5, 0, 0]])
    torch.testing.assert_close(entropy(probs), torch.tensor([math.log(4), 0.0, math.log(2)]))


def test_entropy_has_a_finite_gradient_at_zero():
    probs = torch.tensor([0.5, 0.5, 0.0], requires_grad=True)
    entropy(probs).backward()
    torch.testing.assert_close(probs.grad, torch.tensor([math.log(2) - 1, math.log(2) - 1, 0.0]))


def test_mutual_information_of_a_gate_that_looks_and_of_one_that_does_not():
    mean, certain = torch.full((4,), 0.25), torch.tensor(0.0)
    assert mutual_information(mean, certain).item() == pytest.approx(math.log(4))
    assert mutual_information(mean, entropy(mean)).item() == 0.0
    assert mutual_information(mean, entropy(mean) + 1e-6).item() == 0.0


def test_effective_experts_from_one_to_all():
    assert effective_experts(torch.full((8,), 0.125)).item() == pytest.approx(8)
    assert effective_experts(torch.tensor([1.0, 0.0])).item() == pytest.approx(1)


def test_experts_used_are_those_with_a_tenth_of_their_share():
    counts = torch.tensor([975, 25, 24, 0])
    assert experts_used(counts).item() == 1
    assert experts_used(torch.tensor([975, 25, 0, 0])).item() == 2
    assert experts_used(torch.tensor([250, 250, 250, 250])).item() == 4
