"""Draws are what they say, in every type."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gatewise import noise
from tests.chance import ALPHA, frequency_p, seeded

DRAWS = 400_000
TYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)


@TYPES
def test_noise_is_drawn_in_float32_at_least(dtype):
    like = torch.zeros(3, dtype=dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    assert noise.gumbel((4, 3), like).dtype == wide
    assert noise.exponential((4, 3), like).dtype == wide
    assert noise.perturbed(like, 2).dtype == wide


@TYPES
def test_exponentials_have_their_distribution(dtype):
    """16 equally likely bins: a share 3 % off is found with probability > .99."""
    draws = noise.exponential((DRAWS,), torch.zeros((), dtype=dtype), seeded(1))
    assert (draws > 0).all()
    counts = torch.bincount((-torch.expm1(-draws) * 16).long().clamp_max(15), minlength=16)
    assert frequency_p(counts, torch.full((16,), 1 / 16)) > ALPHA


@TYPES
def test_gumbels_have_their_distribution(dtype):
    draws = noise.gumbel((DRAWS,), torch.zeros((), dtype=dtype), seeded(2))
    assert draws.isfinite().all()
    counts = torch.bincount((torch.exp(-torch.exp(-draws)) * 16).long().clamp_max(15), minlength=16)
    assert frequency_p(counts, torch.full((16,), 1 / 16)) > ALPHA


@TYPES
def test_categories_have_their_distribution(dtype):
    """A probability of .14 off by 4 % (or the commonest by 1.5 %) is found with probability > .99."""
    logits = torch.tensor([0.3, -0.5, 1.1, -torch.inf, 0.0], dtype=dtype)
    index = noise.categorical(logits, DRAWS, seeded(3))
    assert frequency_p(index.bincount(minlength=5), logits.double().softmax(-1)) > ALPHA


def test_rare_categories_are_drawn_as_often_as_they_should():
    logits = torch.tensor([0.0, -9.0])
    index = noise.categorical(logits, 4_000_000, seeded(4))
    assert frequency_p(index.bincount(minlength=2), logits.double().softmax(-1)) > ALPHA


def test_draws_are_independent():
    logits = torch.zeros(100_000, 3)
    first, second = noise.categorical(logits, 2, seeded(5))
    assert frequency_p((3 * first + second).bincount(minlength=9), torch.full((9,), 1 / 9)) > ALPHA
    assert frequency_p((3 * first[1:] + first[:-1]).bincount(minlength=9), torch.full((9,), 1 / 9)) > ALPHA


def test_perturbed_is_the_noise_on_logits_whose_highest_is_0():
    logits = torch.tensor([[5.0, 3.0, -torch.inf], [1.0, 1.0, 1.0]])
    expected = logits - torch.tensor([[5.0], [1.0]]) + noise.gumbel((4, 2, 3), logits, seeded(6))
    assert torch.equal(noise.perturbed(logits, 4, seeded(6)), expected)
    far = noise.perturbed(logits + 2.0**20, 4, seeded(6))
    assert torch.equal(far, expected)


def test_categories_carry_no_gradient_and_perturbed_does():
    logits = torch.zeros(3, requires_grad=True)
    assert not noise.categorical(logits, 2).requires_grad
    assert noise.perturbed(logits, 2).requires_grad


@given(
    st.lists(st.integers(1, 4), max_size=3),
    st.integers(1, 5),
    st.integers(1, 6),
    st.floats(0, 1e6),
    st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
)
def test_any_shape_and_any_scale(batch, num_categories, num_samples, scale, dtype):
    logits = (torch.randn(*batch, num_categories, generator=seeded(7)) * scale).to(dtype)
    index = noise.categorical(logits, num_samples, seeded(8))
    assert index.shape == (num_samples, *batch)
    assert index.dtype == torch.int64
    assert index.min() >= 0
    assert index.max() < num_categories
    assert noise.perturbed(logits, num_samples, seeded(8)).isfinite().all()


@given(st.lists(st.booleans(), min_size=1, max_size=6).filter(any), st.floats(0, 1e4))
def test_masked_categories_are_never_drawn(kept, scale):
    kept = torch.tensor(kept)
    logits = torch.where(kept, torch.randn(len(kept), generator=seeded(9)) * scale, -torch.inf)
    assert kept[noise.categorical(logits, 200, seeded(10))].all()


# Without replacement


def test_draws_without_replacement_have_the_probabilities_of_ordered_sets():
    """P(i, j, k) = π_i · π_j / (1 - π_i) · π_k / (1 - π_i - π_j), all 24 of 4 categories."""
    logits = torch.tensor([0.3, -0.5, 1.1, 0.0], dtype=torch.float64)
    index = noise.without_replacement(logits.expand(DRAWS, 4), 3, seeded(7))
    assert index.shape == (3, DRAWS)
    probs = logits.softmax(-1)
    exact = torch.zeros(4, 4, 4, dtype=torch.float64)
    for i, j, k in itertools.permutations(range(4), 3):
        exact[i, j, k] = probs[i] * probs[j] / (1 - probs[i]) * probs[k] / (1 - probs[i] - probs[j])
    counts = (16 * index[0] + 4 * index[1] + index[2]).bincount(minlength=64)
    assert frequency_p(counts, exact.flatten()) > ALPHA


def test_draws_without_replacement_end_with_the_support():
    logits = torch.tensor([[0.0, -torch.inf, 1.0], [1e4, -1e4, 0.0]])
    index = noise.without_replacement(logits, 5, seeded(8))
    assert index.shape == (3, 2)
    assert sorted(index[:, 0].tolist()) == [-1, 0, 2]
    assert index[-1, 0] == -1
    assert sorted(index[:, 1].tolist()) == [0, 1, 2]
    nothing = noise.without_replacement(torch.full((2, 3), -torch.inf), 2)
    assert (nothing == -1).all()


# Conditioned on the order


@pytest.mark.parametrize("k", [1, 2, 3])
def test_noise_conditioned_on_the_order_of_a_draw_is_distributed_as_the_draw(k):
    """Draw the order, then the noise given the order: the noise alone is then a plain Gumbel, in each category."""
    logits = torch.tensor([0.3, -0.5, 1.1, 0.0]).expand(DRAWS, 4)
    order = noise.without_replacement(logits, k, seeded(9))
    perturbed = noise.conditional_perturbed(logits.log_softmax(-1), order, 1, seeded(10)).squeeze(0)
    assert torch.equal(perturbed.topk(k).indices.T, order)
    uniform = torch.exp(-torch.exp(logits.log_softmax(-1) - perturbed))
    for category in range(4):
        counts = torch.bincount((uniform[:, category] * 16).long().clamp_max(15), minlength=16)
        assert frequency_p(counts, torch.full((16,), 1 / 16)) > ALPHA
    pairs = (uniform[:, 0] * 4).long().clamp_max(3) * 4 + (uniform[:, 2] * 4).long().clamp_max(3)
    assert frequency_p(pairs.bincount(minlength=16), torch.full((16,), 1 / 16)) > ALPHA


def test_the_wrong_condition_is_seen():
    """Power of the check above: noise conditioned on an order that was drawn from other logits is not a Gumbel."""
    logits = torch.tensor([0.3, -0.5, 1.1, 0.0]).expand(DRAWS, 4)
    order = noise.without_replacement(0.9 * logits, 1, seeded(9))
    perturbed = noise.conditional_perturbed(logits.log_softmax(-1), order, 1, seeded(10)).squeeze(0)
    uniform = torch.exp(-torch.exp(logits.log_softmax(-1) - perturbed))
    assert frequency_p((uniform[:, 2] * 16).long().bincount(minlength=16), torch.full((16,), 1 / 16)) < ALPHA


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_conditioned_noise_is_finite_at_any_scale_and_keeps_masks(dtype):
    logits = 1e4 * torch.randn(50, 6, generator=seeded(11)).to(dtype)
    logits[:, 1] = -torch.inf
    logits.requires_grad_()
    order = noise.without_replacement(logits, 3, seeded(12))
    perturbed = noise.conditional_perturbed(logits.log_softmax(-1), order, 4, seeded(13))
    assert perturbed.shape == (4, 50, 6)
    assert (perturbed[..., 1] == -torch.inf).all()
    assert perturbed[..., [0, 2, 3, 4, 5]].isfinite().all()
    chosen = perturbed.gather(-1, order.T.expand(4, 50, 3))
    # categories that lie 1e4 apart: the perturbed values may tie in rounding, but not stand in another order
    assert (chosen[..., 0] >= chosen[..., 1]).all()
    assert (chosen[..., 1] >= chosen[..., 2]).all()
    (gradient,) = torch.autograd.grad(perturbed[..., [0, 2, 3, 4, 5]].sum(), logits)
    assert gradient.isfinite().all()
