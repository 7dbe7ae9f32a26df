"""All checks in order, and the one call that makes them."""

from gatewise.errors import GatewiseError
from gatewise.estimators import GradientEstimator
from gatewise.testing.checks import behaviour, costs, exactness, forms, gradients, masks, repetition, sampling
from gatewise.testing.subject import Check, Outcomes, Subject

CHECKS: tuple[Check, ...] = (
    forms.states_its_facts,
    forms.shapes_follow_the_batch,
    forms.types_follow_the_values,
    forms.narrow_logits_take_wide_values,
    forms.value_has_the_sign_of_f,
    forms.constant_tables_are_enough,
    forms.refused_counts_are_named,
    forms.latents_are_taken_or_refused,
    forms.empty_batches_pass,
    forms.one_category_is_certain,
    costs.calls_are_as_stated,
    costs.evaluations_are_counted_and_bounded,
    costs.each_pair_is_asked_once,
    gradients.no_grad_gives_the_value_alone,
    gradients.frozen_logits_leave_the_parameters,
    gradients.total_derivative_of_an_f_with_logits,
    gradients.values_are_used_linearly,
    gradients.control_loss_touches_its_own_alone,
    gradients.hard_logits_stay_finite,
    masks.masked_categories_are_not_asked,
    behaviour.a_seed_decides_everything,
    behaviour.a_generator_is_the_only_source,
    behaviour.torchs_generator_is_used_without_one,
    behaviour.state_is_saved_and_restored,
    behaviour.schedules_and_statistics_move,
    repetition.repeated_passes_leave_no_trace,
    repetition.calls_thrown_away_leave_no_trace,
    exactness.draws_are_as_listed,
    exactness.expectation_is_exact,
    exactness.expectation_is_exact_for_two_latents,
    exactness.expectation_is_exact_with_a_mask,
    exactness.what_is_not_claimed_is_seen_biased,
    sampling.means_are_as_claimed,
    sampling.means_of_several_are_as_claimed,
    behaviour.compiles_without_a_break,
    behaviour.maps_over_examples,
    behaviour.stays_on_the_device,
)
"""The contract, a check a line; the dearest come last."""


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
