"""Enumeration, and what the contract's comparison with it finds; the contract itself is in `test_contract.py`."""

import pytest
import torch

import gatewise as gw
from gatewise.estimators import Baseline, ScoreFunction
from gatewise.testing import Subject, Toy, exact, expected, independent_draws
from tests.estimators.cases import LOGITS, WEIGHTS


def test_a_baseline_that_sees_its_own_draw_is_found_out():
    class OwnDraw(Baseline):
        def forward(self, values, context):
            return 0.1 * values

    subject = Subject(ScoreFunction(baseline=OwnDraw()), independent_draws)
    _, gradient, _ = expected(subject, LOGITS, 1)
    right = exact(LOGITS)[1]
    assert (gradient - right).norm() / right.norm() > 0.05


@pytest.mark.parametrize("contains_logits", [False, True], ids=["", "f-contains-logits"])
@pytest.mark.parametrize("event_dims", [0, 1])
def test_enumeration_is_the_sum(event_dims, contains_logits):
    logits = torch.stack([LOGITS, LOGITS.flip(0)]) if event_dims else LOGITS
    leaf, weights = logits.clone().requires_grad_(), WEIGHTS.clone().requires_grad_()
    toy = Toy(weights, (), event_dims, leaf.log_softmax(-1) if contains_logits else None)
    estimate = gw.expect(toy, leaf, gw.estimators.get("enumeration"), event_dims=event_dims)
    found = estimate.value, *torch.autograd.grad(estimate.value, (leaf, weights))
    for mean, right in zip(found, exact(logits, event_dims, contains_logits), strict=True):
        torch.testing.assert_close(mean, right, atol=1e-14, rtol=1e-13)


def test_enumeration_forgets_what_has_probability_zero():
    """f may be infinite at a masked category; neither the sum nor its gradient sees it."""
    logits = torch.tensor([0.0, 1.0, -torch.inf], dtype=torch.float64, requires_grad=True)
    table = torch.tensor([1.0, 2.0, -torch.inf], dtype=torch.float64, requires_grad=True)
    value = gw.expect(gw.by_index(lambda index: table[index]), logits, gw.estimators.get("enumeration")).value
    gradients = torch.autograd.grad(value, (logits, table))
    probs = logits.detach().softmax(-1)
    assert value.item() == pytest.approx((probs[:2] * table.detach()[:2]).sum().item())
    torch.testing.assert_close(gradients[1], probs)
    assert gradients[0].isfinite().all()
    assert gradients[0][2] == 0


def test_enumeration_of_f_with_log_probs_under_a_mask():
    logits = torch.tensor([0.0, 1.0, -torch.inf], dtype=torch.float64, requires_grad=True)
    log_probs = logits.log_softmax(-1)
    entropy = -gw.expect(gw.by_index(lambda index: log_probs[index]), logits, gw.estimators.get("enumeration")).value
    (gradient,) = torch.autograd.grad(entropy, logits)
    short = logits.detach()[:2].requires_grad_()
    (right,) = torch.autograd.grad(-(short.softmax(-1) * short.log_softmax(-1)).sum(), short)
    torch.testing.assert_close(gradient, torch.cat([right, torch.zeros(1, dtype=torch.float64)]))


def test_enumeration_refuses_too_many_joint_outcomes():
    with pytest.raises(gw.GatewiseError, match=r"13 latents of 2 categories.*score-function"):
        gw.expect(lambda point: point.sum((-1, -2)), torch.zeros(13, 2), gw.estimators.get("enumeration"), event_dims=1)
