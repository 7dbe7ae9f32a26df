"""Unbiasedness of estimators with continuous noise, by tests with a stated false-alarm rate and power.

Each check raises a false alarm with probability below 1e-8 (see `tests.chance`), and asserts from its own samples
that a bias of 2 % of the exact vector's norm, along it, would be found with probability > .99. What is not claimed
must be seen to be biased: a claim is not left out for comfort.
"""

import pytest
import torch

import gatewise as gw
from gatewise.estimators import ScoreFunction
from tests.chance import ALPHA, mean_p, seeded, smallest_caught
from tests.estimators.cases import CASES, CONTEXT_DIM, JOINT_DRAWS, LOGITS, WEIGHTS, Toy, exact

DRAWS = 500_000
QUANTITIES = ("value", "logits", "parameters")
NOISY = [case for case in CASES if case.name not in JOINT_DRAWS and case.name != "enumeration"]


def samples_of(estimator, num_samples):
    """`[R, D]` each: R independent estimates of the value, of the gradient for the logits, and for the weights."""
    logits = LOGITS.float().expand(DRAWS, -1).clone().requires_grad_()
    weights = WEIGHTS.float().expand(DRAWS, -1).clone().requires_grad_()
    value = gw.expect(
        Toy(weights, (DRAWS,)),
        logits,
        estimator,
        num_samples=num_samples,
        generator=seeded(17),
        context=torch.zeros(DRAWS, CONTEXT_DIM),
    ).value
    gradients = torch.autograd.grad(value.sum(), (logits, weights))
    return dict(zip(QUANTITIES, (value.detach().unsqueeze(1), *gradients), strict=True))


def exact_of(quantity):
    return exact(LOGITS)[QUANTITIES.index(quantity)].detach().flatten()


@pytest.mark.parametrize("case", NOISY, ids=str)
def test_unbiased_for_what_is_claimed_and_biased_for_the_rest(case):
    estimator = case.make()
    for quantity, samples in samples_of(estimator, case.counts(4)[0]).items():
        right = exact_of(quantity)
        p = mean_p(samples, right)
        if quantity in estimator.unbiased:
            assert p > ALPHA, f"biased for the {quantity}"
            assert smallest_caught(samples, right) < 0.02
        else:
            assert p < ALPHA, f"no bias found for the {quantity}, which are not claimed"


def test_a_planted_bias_of_two_percent_is_caught():
    for quantity, sound in samples_of(ScoreFunction("leave-one-out"), 2).items():
        right = exact_of(quantity)
        planted = sound + 0.02 * right
        assert mean_p(sound, right) > ALPHA
        assert smallest_caught(sound, right) < 0.02
        assert mean_p(planted, right) < ALPHA
