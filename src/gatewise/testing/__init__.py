"""The contract of every gradient estimator as checks for your own: the tests that gatewise runs on its own.

    from gatewise.testing import check_gradient_estimator, independent_draws

    def test_mine():
        check_gradient_estimator(MyEstimator(), outcomes=independent_draws)   # unbiased to 1e-10, by enumeration
        check_gradient_estimator(MyRelaxation(temperature=0.5))               # by tests of its mean

One test for each part of the contract, so that a failure is named:

    @pytest.mark.parametrize("check", CHECKS, ids=str)
    def test_mine(check):
        check(Subject(MyEstimator(), outcomes=independent_draws))

Needs torch alone; no test runner.
"""

from gatewise.testing.checks.exactness import expected
from gatewise.testing.contract import CHECKS, check_gradient_estimator
from gatewise.testing.planted import Planted
from gatewise.testing.statistics import (
    ALPHA,
    SampleMoments,
    chi_square_p,
    frequency_p,
    mean_p,
    noncentrality,
    seeded,
    smallest_caught,
)
from gatewise.testing.subject import Check, Outcomes, Subject
from gatewise.testing.toy import Toy, exact, independent_draws, joint_probs, toy_logits, toy_weights

__all__ = [
    "ALPHA",
    "CHECKS",
    "Check",
    "Outcomes",
    "Planted",
    "SampleMoments",
    "Subject",
    "Toy",
    "check_gradient_estimator",
    "chi_square_p",
    "exact",
    "expected",
    "frequency_p",
    "independent_draws",
    "joint_probs",
    "mean_p",
    "noncentrality",
    "seeded",
    "smallest_caught",
    "toy_logits",
    "toy_weights",
]
