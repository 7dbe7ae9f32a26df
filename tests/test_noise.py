"""Draws are what they say, in every type."""

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


def test_perturbed_is_the_log_softmax_plus_the_noise():
    logits = torch.tensor([[5.0, 3.0, -torch.inf], [1.0, 1.0, 1.0]])
    expected = logits.log_softmax(-1) + noise.gumbel((4, 2, 3), logits, seeded(6))
    assert torch.equal(noise.perturbed(logits, 4, seeded(6)), expected)


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
