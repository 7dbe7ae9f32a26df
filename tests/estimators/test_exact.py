"""Unbiasedness decided by enumeration: every joint outcome of the draws, weighed by its probability.

E ĝ is compared with the exact gradient to 1e-10 in float64; no tolerance to argue over.
"""

import pytest
import torch
from torch import Tensor

import gatewise as gw
from gatewise.estimators import Baseline, GradientEstimator, ScoreFunction
from tests.estimators.cases import CASES, CONTEXT_DIM, INDEX_CASES, JOINT_DRAWS, LOGITS, WEIGHTS, Case, Toy, exact

CLAIMING = [case for case in INDEX_CASES if "logits" in case.make().unbiased]


def with_counts(most: int) -> list:
    """Every case with every count from 1 to `most` that it takes."""
    return [pytest.param(case, count, id=f"{case}-{count}") for case in CLAIMING for count in case.counts(most)]


def warmed_up(case: Case, event_dims: int) -> GradientEstimator:
    """An estimator whose running baselines have seen something, so that they are not 0."""
    estimator = case.make().double()
    shape = (7, 2, 5) if event_dims else (7, 5)
    for _ in range(3):
        gw.expect(
            Toy(WEIGHTS, (7,), event_dims),
            torch.zeros(shape, dtype=torch.float64),
            estimator,
            num_samples=2,
            event_dims=event_dims,
            context=torch.randn(7, CONTEXT_DIM, dtype=torch.float64),
        )
    return estimator


def expected(
    estimator: GradientEstimator, logits: Tensor, num_samples: int, event_dims: int = 0, contains_logits: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """E of the value, of the gradient for the logits and of that for the weights, over all joint outcomes."""
    logits = logits.detach().requires_grad_()
    weights = WEIGHTS[: logits.shape[-1]].clone().requires_grad_()
    index, probability = JOINT_DRAWS[estimator.name](logits.detach(), num_samples)
    estimator.draw_index = lambda *_: index
    batch = (len(probability),)
    log_probs = logits.log_softmax(-1) if contains_logits else None
    estimate = gw.expect(
        Toy(weights, batch, event_dims, log_probs),
        logits.expand(*batch, *logits.shape),
        estimator,
        num_samples=num_samples,
        event_dims=event_dims,
        context=torch.linspace(-1, 1, CONTEXT_DIM).expand(*batch, CONTEXT_DIM),
    )
    value = (probability * estimate.value).sum()
    return value, *torch.autograd.grad(value, (logits, weights))


def test_every_index_estimator_that_claims_the_logits_is_enumerated():
    missing = {case.name for case in CLAIMING} - set(JOINT_DRAWS)
    assert not missing, f"give {missing} a draw_index and say in JOINT_DRAWS how they draw"
    assert CLAIMING


@pytest.mark.parametrize("contains_logits", [False, True], ids=["", "f-contains-logits"])
@pytest.mark.parametrize(("case", "num_samples"), with_counts(3))
def test_expectation_is_exact(case, num_samples, contains_logits):
    found = expected(warmed_up(case, 0), LOGITS, num_samples, contains_logits=contains_logits)
    for mean, right in zip(found, exact(LOGITS, contains_logits=contains_logits), strict=True):
        torch.testing.assert_close(mean, right, atol=1e-10, rtol=0)


@pytest.mark.parametrize("contains_logits", [False, True], ids=["", "f-contains-logits"])
@pytest.mark.parametrize(("case", "num_samples"), with_counts(2))
def test_expectation_is_exact_for_two_latents(case, num_samples, contains_logits):
    logits = torch.stack([LOGITS, LOGITS.flip(0)])
    found = expected(warmed_up(case, 1), logits, num_samples, 1, contains_logits)
    for mean, right in zip(found, exact(logits, 1, contains_logits), strict=True):
        torch.testing.assert_close(mean, right, atol=1e-10, rtol=0)


@pytest.mark.parametrize("case", [c for c in CLAIMING if 1 in c.counts(1)], ids=str)
def test_expectation_is_exact_with_a_masked_category(case):
    logits = LOGITS.clone()
    logits[3] = -torch.inf
    index, probability = JOINT_DRAWS[case.name](logits, 1)
    estimator = warmed_up(case, 0)
    estimator.draw_index = lambda *_: index[:, probability > 0]
    leaf = logits.clone().requires_grad_()
    value = gw.expect(
        Toy(WEIGHTS, (4,)), leaf.expand(4, 5), estimator, num_samples=1, context=torch.zeros(4, CONTEXT_DIM)
    ).value
    (found,) = torch.autograd.grad((probability[probability > 0] * value).sum(), leaf)
    torch.testing.assert_close(found, exact(logits)[1], atol=1e-10, rtol=0)


def test_a_baseline_that_sees_its_own_draw_is_found_out():
    class OwnDraw(Baseline):
        def forward(self, values, context):
            return 0.1 * values

    _, gradient, _ = expected(ScoreFunction(baseline=OwnDraw()), LOGITS, 1)
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


def test_the_table_covers_every_registered_estimator():
    assert {case.name for case in CASES} == set(gw.estimators.names())
