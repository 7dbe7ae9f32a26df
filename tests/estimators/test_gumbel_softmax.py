"""Gumbel-Softmax and its straight-through form, beyond the contract."""

import pytest
import torch

import gatewise as gw
from tests.chance import ALPHA, mean_p, seeded
from tests.estimators.cases import LOGITS

BOTH = ["gumbel-softmax", "straight-through-gumbel-softmax"]


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_points_lie_on_the_simplex(name, dtype):
    points = gw.estimators.get(name).draw(LOGITS.to(dtype), 1000, seeded(1))
    assert points.dtype == dtype
    assert (points >= 0).all()
    total = points.sum(-1, dtype=torch.float64)
    torch.testing.assert_close(total, torch.ones_like(total), atol=0.02 if dtype == torch.bfloat16 else 1e-6, rtol=0)


def test_straight_through_points_are_exact_corners():
    points = gw.estimators.get(BOTH[1]).draw(LOGITS, 1000, seeded(1))
    assert ((points == 0) | (points == 1)).all()
    assert (points.sum(-1) == 1).all()


def test_both_share_their_gradient_for_the_same_noise():
    """For an f linear in the point the two gradients are the same: both are that of β."""
    slopes = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0], dtype=torch.float64)
    gradients = []
    for name in BOTH:
        logits = LOGITS.clone().requires_grad_()
        points = gw.estimators.get(name, temperature=0.7).draw(logits, 50, seeded(2))
        gradients.append(torch.autograd.grad((points @ slopes).sum(), logits)[0])
    torch.testing.assert_close(*gradients)


def test_low_temperatures_approach_corners_and_high_ones_the_middle():
    cold, hot = (gw.estimators.get(BOTH[0], temperature=t).draw(LOGITS, 2000, seeded(3)) for t in (0.01, 100.0))
    assert cold.amax(-1).mean() > 0.97
    assert (hot - 0.2).abs().max() < 0.1


def test_uniform_logits_have_a_uniform_mean():
    """The stated exception to the bias: under a uniform π the mean of β is π."""
    points = gw.estimators.get(BOTH[0]).draw(torch.zeros(50_000, 4), 1, seeded(4)).squeeze(0)
    assert mean_p(points, torch.full((4,), 0.25)) > ALPHA
