"""Estimators broken in one way each: the check that is for it must say so, in words that name the fault."""

import dataclasses
import re

import pytest
import torch
from torch import nn

import gatewise as gw
from gatewise.estimators import ScoreFunction, StraightThroughGumbelSoftmax
from gatewise.estimators.base import gradient_only
from gatewise.testing import CHECKS, Subject, check_gradient_estimator, independent_draws
from gatewise.testing.checks import sampling

BY_NAME = {str(check): check for check in CHECKS}


class Changed(ScoreFunction):
    """The score function, with `change(estimate, logits)` applied to what it returns."""

    name = "broken"

    def __init__(self, baseline="none", **options):
        super().__init__(baseline, **options)

    def forward(self, integrand, logits, **arguments):
        return self.change(super().forward(integrand, logits, **arguments), logits)

    def change(self, estimate, logits):
        return estimate

    def with_value(self, estimate, value):
        return dataclasses.replace(estimate, value=value)


class TooLong(Changed):
    """The logits' gradient is 2 % too long."""

    def forward(self, integrand, logits, **arguments):
        return super(Changed, self).forward(integrand, logits + 0.02 * gradient_only(logits), **arguments)


class WrongSign(Changed):
    def change(self, estimate, logits):
        return self.with_value(estimate, -estimate.value)


class TooLarge(Changed):
    """The value is 2 % too large."""

    def change(self, estimate, logits):
        return self.with_value(estimate, 1.02 * estimate.value)


class TooModest(Changed):
    """The logits, which are unbiased, are not claimed."""

    unbiased = frozenset({"value", "parameters"})


class TooProud(StraightThroughGumbelSoftmax):
    name = "broken"
    unbiased = frozenset({"value", "logits", "parameters"})


class Leaking(Changed):
    def change(self, estimate, logits):
        loss = estimate.control_loss
        return estimate if loss is None else dataclasses.replace(estimate, control_loss=loss + estimate.value.sum())


class Unseeded(Changed):
    def draw_index(self, logits, num_samples, generator=None):
        return super().draw_index(logits, num_samples, None)


class AskingTwice(Changed):
    def forward(self, integrand, logits, **arguments):
        with torch.no_grad():
            integrand.at_index(logits.argmax(-1).unsqueeze(0))
        return super(Changed, self).forward(integrand, logits, **arguments)


class AskingAll(Changed):
    def forward(self, integrand, logits, **arguments):
        integrand.at_all()
        return super(Changed, self).forward(integrand, logits, **arguments)


class AskingTheMasked(Changed):
    """What stands in for nothing is category 0."""

    def forward(self, integrand, logits, **arguments):
        value = integrand.at_index(torch.zeros_like(logits.argmax(-1)).unsqueeze(0)).squeeze(0)
        estimate = super(Changed, self).forward(integrand, logits, **arguments)
        return self.with_value(estimate, estimate.value + 0 * torch.where(value > -torch.inf, value, 0.0))


class Frugal(Changed):
    """Says that it costs half of what it does."""

    def evaluations(self, num_samples, num_categories):
        return max(1, min(num_samples, num_categories) // 2)


class Uncounted(Changed):
    def change(self, estimate, logits):
        info = gw.Info(torch.ones_like(estimate.info.evaluations), estimate.info.index, estimate.info.point)
        return dataclasses.replace(estimate, info=info)


class Unreduced(Changed):
    def change(self, estimate, logits):
        return self.with_value(estimate, estimate.value.unsqueeze(0))


class NotANumber(Changed):
    """0 · log 0 at a masked category."""

    event_dims = (0,)

    def change(self, estimate, logits):
        log_probs = logits.log_softmax(-1)
        nothing = 0 * (log_probs.exp() * log_probs).sum(-1).detach()
        return self.with_value(estimate, estimate.value + nothing)


class Coupled(Changed):
    """Divides by the spread over the batch, and so is not linear in an example's value."""

    def change(self, estimate, logits):
        scale = 1 + estimate.value.square().mean()
        return self.with_value(estimate, estimate.value * scale / scale.detach())


class Wide(Changed):
    def change(self, estimate, logits):
        return self.with_value(estimate, estimate.value.double())


class Forgetful(Changed):
    """A running baseline that no state dict knows of."""

    event_dims = (0,)
    level = 0.0

    def change(self, estimate, logits):
        moved = self.level * gradient_only(logits.square().sum(-1))
        self.level += 1.0
        return self.with_value(estimate, estimate.value + moved)


class Branching(Changed):
    """Looks at a number in the middle: no single graph."""

    def change(self, estimate, logits):
        return estimate if estimate.value.sum().item() > 0 else self.with_value(estimate, estimate.value + 0)


class Frozen(StraightThroughGumbelSoftmax):
    """The same noise for all examples."""

    name = "broken"

    def draw(self, logits, num_samples, generator=None):
        noise = torch.linspace(-1, 1, logits.shape[-1], dtype=logits.dtype)
        return (logits + noise).softmax(-1).expand(num_samples, *logits.shape)


class Untold(Changed):
    """Has parameters and nothing that trains them."""

    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.zeros(()))


class Skewed(Changed):
    """Draws from logits that are a little flatter than those it weighs the draws with."""

    def draw_index(self, logits, num_samples, generator=None):
        return super().draw_index(0.95 * logits, num_samples, generator)


BROKEN = [
    (TooLong, "expectation_is_exact", r"the expected gradient for the logits of f with num_samples=1: expected \["),
    (TooLong, "means_are_as_claimed", r"biased for the logits"),
    (WrongSign, "value_has_the_sign_of_f", r"value of an f of sign \+1, times that sign: expected above 2\.9, found -"),
    (TooLarge, "expectation_is_exact", r"the expected value of f"),
    (TooLarge, "means_are_as_claimed", r"biased for the value"),
    (TooModest, "what_is_not_claimed_is_seen_biased", r"logits is not among those claimed .* expected a bias, found"),
    (TooModest, "means_are_as_claimed", r"not claimed to be unbiased for the logits"),
    (TooProud, "means_are_as_claimed", r"biased for the logits"),
    (Unseeded, "a_seed_decides_everything", r"the value of the same seed"),
    (Unseeded, "a_generator_is_the_only_source", r"torch's own generator, .* expected untouched, found moved on"),
    (AskingTwice, "each_pair_is_asked_once", r"how often f is run for one example's categories"),
    (AskingAll, "calls_are_as_stated", r"what f is asked for: expected \{'index'\}, found \{.*'all'"),
    (
        Frugal,
        "evaluations_are_counted_and_bounded",
        r"info\.evaluations with num_samples=2: expected at most 1, found 2",
    ),
    (Uncounted, "evaluations_are_counted_and_bounded", r"info\.evaluations with num_samples=2: expected \["),
    (Unreduced, "shapes_follow_the_batch", r"shape of value for batch \[\], .*: expected \[\], found \[1\]"),
    (NotANumber, "hard_logits_stay_finite", r"for .*masked logits in torch\.float64: expected finite, found \[nan"),
    (
        AskingTheMasked,
        "masked_categories_are_not_asked",
        r"the weight that is put on category 0 of f\(z\) = log ⟨z, θ⟩, .* masked, alone, 1 latents: expected 0, found",
    ),
    (Coupled, "values_are_used_linearly", r"the gradient of a weighted sum of values"),
    (Wide, "types_follow_the_values", r"the type of the value .* expected torch\.float32, found torch\.float64"),
    (Forgetful, "state_is_saved_and_restored", r"the gradient after load_state_dict"),
    (
        Branching,
        "compiles_without_a_break",
        r"compiles_without_a_break raised where it should not have: .*data-dependent",
    ),
    (Frozen, "maps_over_examples", r"mapped values differ: expected 2 or more, found 1"),
    (Untold, "control_loss_touches_its_own_alone", r"control_loss: expected a scalar, as there are parameters"),
    (Skewed, "draws_are_as_listed", r"p-value of 200000 draws .* expected above 1e-09, found"),
]


def fails(check, estimator, said, outcomes=independent_draws):
    with pytest.raises(AssertionError) as failure:
        BY_NAME[check](Subject(estimator, outcomes))
    assert re.match(rf"broken: .*{said}", str(failure.value), re.DOTALL), str(failure.value)


@pytest.mark.parametrize(
    ("broken", "check", "said"), [pytest.param(*row, id=f"{row[0].__name__}-{row[1]}") for row in BROKEN]
)
def test_the_fault_is_found_and_named(broken, check, said, monkeypatch):
    monkeypatch.setattr(sampling, "MOST_BATCHES", 8)
    by_means = check.startswith("means") or not issubclass(broken, ScoreFunction)
    fails(check, broken(), said, None if by_means else independent_draws)


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_what_the_broken_are_made_from_is_sound(check):
    check(Subject(Changed(), independent_draws))
    check(Subject(Changed("leave-one-out")))


def test_a_control_loss_that_reaches_f_and_the_logits_is_found():
    said = r"the gradient of control_loss for the logits: expected None"
    fails("control_loss_touches_its_own_alone", Leaking("learned"), said)


@pytest.mark.parametrize(
    ("fact", "value", "said"),
    [
        ("name", "Broken One", "name: expected kebab-case, found Broken One"),
        ("calls", frozenset({"corner"}), r"calls: expected some of index, all, point, found \{'corner'\}"),
        ("unbiased", frozenset({"theta"}), r"unbiased: expected a subset of .*'theta'"),
        ("event_dims", (1,), r"event_dims: expected \(0,\) or \(0, 1\), found \(1,\)"),
        ("reference", "", "reference: expected the paper"),
        ("compiles", False, "compiles is False: expected a docstring"),
    ],
)
def test_facts_that_cannot_be_are_found(fact, value, said):
    stated = type("Stated", (TooModest,), {fact: value, "__doc__": "None."})
    with pytest.raises(AssertionError, match=said):
        BY_NAME["states_its_facts"](Subject(stated()))


def test_outcomes_that_do_not_add_up_are_found():
    def half(logits, num_samples):
        index, probability = independent_draws(logits, num_samples)
        return index, probability / 2

    said = r"the sum of the probabilities that outcomes lists: expected 1, found 0\.5"
    fails("expectation_is_exact", TooLong(), said, half)


def test_outcomes_of_an_estimator_that_does_not_draw_by_draw_index_are_refused():
    with pytest.raises(AssertionError, match=r"calls of draw_index.*expected 1, found 0"):
        BY_NAME["expectation_is_exact"](Subject(gw.estimators.get("arsm"), independent_draws))


def test_one_call_raises_for_the_first_fault():
    with pytest.raises(AssertionError, match=r"^broken: the shape of value"):
        check_gradient_estimator(Unreduced(), outcomes=independent_draws)
    with pytest.raises(AssertionError, match=r"^broken: biased for the logits"):
        check_gradient_estimator(TooProud())
