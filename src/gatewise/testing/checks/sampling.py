"""Unbiasedness of estimators with continuous noise, by tests with a stated false-alarm rate and power.

Each check raises a false alarm with probability below `ALPHA` (see `gatewise.testing.statistics`), and draws until its
own samples say that a bias of 2 % of the exact vector's norm, along it, would be found with probability > .99. What is
not claimed must be seen to be biased: a claim is not left out for comfort.
"""

import copy

import torch
from torch import Tensor

from gatewise.estimators import GradientEstimator
from gatewise.expectation import expect
from gatewise.testing.checks.exactness import QUANTITIES, is_listed
from gatewise.testing.statistics import ALPHA, SampleMoments, mean_p, seeded, smallest_caught
from gatewise.testing.subject import Subject, check_only, shown
from gatewise.testing.toy import Toy, exact, toy_logits, toy_weights

BIAS = 0.02
BATCH = 2**16
MOST_BATCHES = 128
"""8 million draws: where they do not suffice the variance is so high that nothing can be said."""

sampled = check_only("estimators that draw, with outcomes that are not listed", lambda subject: not is_listed(subject))


@sampled
def means_are_as_claimed(subject: Subject) -> None:
    """With the smallest sample count: unbiased for what is claimed, and seen biased for the rest."""
    _test(subject, toy_logits(subject.num_categories), subject.counts(1)[0], QUANTITIES)


@sampled
def means_of_several_are_as_claimed(subject: Subject) -> None:
    """With more samples, two latents where they are taken, and a masked category: unbiased for what is claimed."""
    logits = toy_logits(subject.num_categories)
    masked = logits.flip(0)
    masked[-1] = -torch.inf
    both = 1 in subject.estimator.event_dims
    claimed = tuple(what for what in QUANTITIES if what in subject.estimator.unbiased)
    _test(subject, torch.stack([logits, masked]) if both else masked, subject.counts(8)[:2][-1], claimed)


def _test(subject: Subject, logits: Tensor, num_samples: int, quantities: tuple[str, ...]) -> None:
    right = dict(zip(QUANTITIES, (part.flatten() for part in exact(logits, logits.dim() - 1)), strict=True))
    moments = _enough(subject, logits, num_samples, {what: right[what] for what in quantities})
    for what in quantities:
        drawn = moments[what]
        p, mean, wanted = mean_p(drawn, right[what]), shown(drawn.mean), shown(right[what])
        where = f"the {what} with num_samples={num_samples} and logits {shown(logits)}, {drawn.number} draws"
        if what in subject.estimator.unbiased:
            subject.require(p > ALPHA, f"biased for {where}", wanted, f"{mean} (p = {p:.2g})")
            caught = smallest_caught(drawn, right[what])
            limit = f"a bias of {BIAS:.0%} to show"
            subject.require(caught < BIAS, f"too much variance in {where}", limit, f"that only {caught:.2%} would")
        else:
            subject.require(p < ALPHA, f"not claimed to be unbiased for {where}", f"a bias against {wanted}", mean)


def _enough(subject: Subject, logits: Tensor, num_samples: int, right: dict[str, Tensor]) -> dict[str, SampleMoments]:
    """The moments of as many draws as decide everything, in batches of the same estimator."""
    estimator = subject.warmed_up(logits.dim() - 1, torch.float32)
    moments: dict[str, SampleMoments] = {}
    for batch in range(MOST_BATCHES):
        # a copy: the statistics of one batch do not reach the next, so that batches are independent
        drawn = _draw(subject, copy.deepcopy(estimator), logits.float(), num_samples, seed=17 + batch)
        moments = {what: moments[what] + drawn[what] if moments else drawn[what] for what in right}
        # when a claim is tested depends on the variance alone, so that looking again and again raises no false alarm
        if all(
            smallest_caught(moments[what], right[what]) < BIAS
            if what in subject.estimator.unbiased
            else mean_p(moments[what], right[what]) < ALPHA
            for what in right
        ):
            break
    return moments


def _draw(
    subject: Subject, estimator: GradientEstimator, logits: Tensor, num_samples: int, seed: int
) -> dict[str, SampleMoments]:
    """Independent estimates of the value, of the gradient for the logits, and for the weights."""
    event_dims = logits.dim() - 1
    many = logits.expand(BATCH, *logits.shape).clone().requires_grad_()
    weights = toy_weights(logits.shape[-1]).float().expand(BATCH, -1).clone().requires_grad_()
    context = subject.context((1,)).expand(BATCH, subject.context_dim)
    toy = Toy(weights, (BATCH,), event_dims)
    value = expect(toy, many, estimator, num_samples, seeded(seed), event_dims, context).value
    gradients = torch.autograd.grad(value.sum(), (many, weights))
    parts = (value.unsqueeze(1), gradients[0].flatten(1), gradients[1])
    return {what: SampleMoments.of(part) for what, part in zip(QUANTITIES, parts, strict=True)}
