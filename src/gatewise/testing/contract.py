"""The estimator contract: all checks in order, and the one call that makes them."""

from gatewise.errors import GatewiseError
from gatewise.estimators import GradientEstimator
from gatewise.testing.checks import (
    behaviour,
    costs,
    exactness,
    forms,
    gradients,
    masks,
    repetition,
    sampling,
    transforms,
)
from gatewise.testing.subject import Check, Outcomes, Subject

FAMILIES = (forms, costs, gradients, masks, behaviour, repetition, exactness, sampling, transforms)
CHECKS = tuple(each for family in FAMILIES for each in vars(family).values() if isinstance(each, Check))
"""The contract, in the order of its files; the dearest come last."""


def check_gradient_estimator(
    estimator: GradientEstimator,
    *,
    outcomes: Outcomes | None = None,
    num_categories: int = 5,
    context_dim: int = 3,
) -> None:
    """Check that an estimator keeps the contract; a few seconds on one core.

    The estimator itself is not used, only deep copies of it, and torch's own generator is left where it was.

    Args:
        estimator: an instance with the options that are to be tested.
        outcomes: `(logits, num_samples) -> (index, probability)`: all that the estimator's `draw_index` can return
            for one example, int64 `[S, N]` or `[S, N, L]` as it returns it, and how likely each is, `[N]` in float64.
            `logits` is what the estimator gives `draw_index` for one example: `[K]`, or `[L, K]`. Give it where the
            estimate is decided by `draw_index`: the expectation is then computed and compared to 1e-10 with the exact
            one. Without it the means of up to 8 million draws are tested. `independent_draws` serves estimators that
            keep the base class's `draw_index`.
        num_categories: K of the tests, at least 2; for an estimator made for a fixed K.
        context_dim: features of the context that it is given.

    Raises:
        AssertionError: for the first check that fails; it begins with the estimator's name, and says what is wrong,
            what was expected and what was found.
        GatewiseError: for `num_categories` below 2.
    """
    if num_categories < 2:
        raise GatewiseError(f"num_categories must be at least 2 for there to be a choice, got {num_categories}")
    subject = Subject(estimator, outcomes, num_categories, context_dim)
    for one in CHECKS:
        one(subject)
