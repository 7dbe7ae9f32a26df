"""Unbiasedness decided by enumeration: every outcome of the draws, weighed by its probability.

The expectation is compared with the exact one to 1e-10 in float64; there is no tolerance to argue over. An estimator
that draws nothing has a single outcome, and is compared in the same way.
"""

import torch
from torch import Tensor

from gatewise.estimators import GradientEstimator
from gatewise.expectation import expect
from gatewise.outcomes import JOINT_LIMIT
from gatewise.testing.statistics import ALPHA, frequency_p, seeded
from gatewise.testing.subject import Subject, check_only
from gatewise.testing.toy import Toy, exact, toy_logits, toy_weights

QUANTITIES = ("value", "logits", "parameters")
TOLERANCE = 1e-10
DRAWS = 200_000


def is_listed(subject: Subject) -> bool:
    """Whether all outcomes are known."""
    return subject.outcomes is not None or subject.is_deterministic()


enumerated_only = "estimators whose outcomes are listed, or that draw nothing"
enumerated = check_only(enumerated_only, is_listed)


@check_only("estimators whose outcomes are listed", lambda subject: subject.outcomes is not None)
def draws_are_as_listed(subject: Subject) -> None:
    """`draw_index` gives the outcomes with the probabilities that `outcomes` lists (a χ² test of 200,000 draws)."""
    for event_dims in subject.event_dims():
        logits = toy_logits(subject.num_categories)
        logits = torch.stack([logits, logits.flip(0)]) if event_dims else logits
        for num_samples in listable(subject, 2, latents=1 + event_dims):
            given = logits_drawn_from(subject, subject.make(), logits, num_samples)
            listed, probability = list_outcomes(subject, given, num_samples)
            many = given.expand(DRAWS, *given.shape)
            drawn = subject.make().draw_index(many, num_samples, seeded(9))
            p = _agreement(drawn, listed, probability, given.shape[-1])
            what = f"p-value of {DRAWS} draws of draw_index(num_samples={num_samples}) against the outcomes listed"
            subject.require(p > ALPHA, f"the {what} for {1 + event_dims} latents", f"above {ALPHA:g}", f"{p:.3g}")


@enumerated
def expectation_is_exact(subject: Subject) -> None:
    """With up to 3 samples, the expectation of all that is claimed is exact."""
    for num_samples in listable(subject, 3):
        _compare(subject, toy_logits(subject.num_categories), num_samples, "")


@check_only(f"{enumerated_only} and that take two latents", lambda s: 1 in s.event_dims() and is_listed(s))
def expectation_is_exact_for_two_latents(subject: Subject) -> None:
    """With up to 2 samples, the expectation of all that is claimed is exact for two latents with one value."""
    logits = toy_logits(subject.num_categories)
    for num_samples in listable(subject, 2, latents=2):
        _compare(subject, torch.stack([logits, logits.flip(0)]), num_samples, " for two latents")


@enumerated
def expectation_is_exact_with_a_mask(subject: Subject) -> None:
    """With up to 3 samples and the last category masked, the expectation of all that is claimed is exact."""
    logits = toy_logits(subject.num_categories)
    logits[-1] = -torch.inf
    for num_samples in listable(subject, 3):
        _compare(subject, logits, num_samples, " with the last category masked")


@enumerated
def what_is_not_claimed_is_seen_biased(subject: Subject) -> None:
    """A claim is not left out for comfort: what `unbiased` does not name has another expectation."""
    logits, num_samples = toy_logits(subject.num_categories), subject.counts(1)[0]
    biases = dict.fromkeys(QUANTITIES, 0.0)
    for contains_logits in (False, True):
        found = expected(subject, logits, num_samples, contains_logits)
        for what, mean, right in zip(QUANTITIES, found, exact(logits, 0, contains_logits), strict=True):
            biases[what] = max(biases[what], ((mean - right).norm() / right.norm()).item())
    for what in QUANTITIES:
        seen = what in subject.estimator.unbiased or biases[what] > 1e-6
        subject.require(seen, f"{what} is not among those claimed to be unbiased", "a bias", f"{biases[what]:.2g}")


def expected(
    subject: Subject, logits: Tensor, num_samples: int, contains_logits: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """E of the value, of the gradient for the logits `[K]` or `[2, K]`, and of that for the parameters of the toy."""
    event_dims = logits.dim() - 1
    estimator = subject.warmed_up(event_dims)
    probability = torch.ones(1, dtype=logits.dtype)
    if subject.outcomes is not None:
        given = logits_drawn_from(subject, estimator, logits, num_samples)
        index, probability = list_outcomes(subject, given, num_samples)
        estimator.draw_index = lambda *_, **__: index
    batch = (len(probability),)
    leaf, weights = logits.clone().requires_grad_(), toy_weights(logits.shape[-1]).requires_grad_()
    toy = Toy(weights, batch, event_dims, leaf.log_softmax(-1) if contains_logits else None)
    # the same example throughout, seen with each outcome
    context = subject.context((1,), torch.float64).expand(*batch, subject.context_dim)
    wide = leaf.expand(*batch, *leaf.shape)
    estimate = expect(toy, wide, estimator, num_samples, seeded(1), event_dims, context)
    value = (probability * estimate.value).sum()
    gradients = torch.autograd.grad(value, (leaf, weights))
    return value.detach(), gradients[0], gradients[1]


def listable(subject: Subject, most: int, latents: int = 1) -> list[int]:
    """The counts up to `most` whose joint outcomes are few enough to be listed; the first in any case."""
    counts = subject.counts(most)
    return [n for n in counts if subject.num_categories ** (n * latents) <= JOINT_LIMIT] or counts[:1]


def logits_drawn_from(subject: Subject, estimator: GradientEstimator, logits: Tensor, num_samples: int) -> Tensor:
    """What the estimator gives to `draw_index` for one example: the logits, tempered, or those of joint outcomes."""
    seen: list[Tensor] = []
    spied = estimator.draw_index

    def spy(logits: Tensor, *rest, **named) -> Tensor:
        seen.append(logits.detach()[0])
        return spied(logits, *rest, **named)

    estimator.draw_index = spy
    toy = Toy(toy_weights(logits.shape[-1]), (1,), logits.dim() - 1)
    with torch.no_grad():
        context = subject.context((1,), next((p.dtype for p in estimator.parameters()), torch.float32))
        expect(toy, logits.unsqueeze(0), estimator, num_samples, seeded(1), logits.dim() - 1, context)
    del estimator.draw_index
    subject.require(len(seen) == 1, "calls of draw_index, whose outcomes are listed, in one estimate", 1, len(seen))
    return seen[0]


def list_outcomes(subject: Subject, logits: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
    """The outcomes of positive probability `[S, N]` or `[S, N, L]`, and the probabilities, which must add up to 1."""
    assert subject.outcomes is not None
    index, probability = subject.outcomes(logits, num_samples)
    total = probability.sum()
    subject.require((total - 1).abs() < 1e-9, "the sum of the probabilities that outcomes lists", 1, total)
    possible = probability > 0
    return index[:, possible], probability[possible]


def _compare(subject: Subject, logits: Tensor, num_samples: int, where: str) -> None:
    for contains_logits in (False, True):
        found = expected(subject, logits, num_samples, contains_logits)
        f = "an f that contains the logits" if contains_logits else "f"
        for what, mean, right in zip(QUANTITIES, found, exact(logits, logits.dim() - 1, contains_logits), strict=True):
            if what in subject.estimator.unbiased:
                described = "value" if what == "value" else f"gradient for the {what}"
                message = f"the expected {described} of {f} with num_samples={num_samples}{where}"
                subject.require_close(mean, right, message, TOLERANCE, 0.0)


def _agreement(drawn: Tensor, listed: Tensor, probability: Tensor, num_categories: int) -> float:
    """p-value of the outcomes drawn, those expected fewer than 20 times taken together."""
    codes = []
    for index in (listed, drawn):  # one number for each outcome `[S, N]` or `[S, N, L]`, whose entries go from -1
        digits = (index if index.dim() == 2 else index.movedim(-1, 1).flatten(0, 1)) + 1
        powers = (num_categories + 1) ** torch.arange(len(digits))
        codes.append((digits * powers.unsqueeze(-1)).sum(0))
    known, place = codes[0].unique(return_inverse=True)
    probs = torch.zeros(len(known), dtype=torch.float64).index_add_(0, place, probability.double())
    found = torch.searchsorted(known, codes[1]).clamp_max(len(known) - 1)
    if not torch.equal(known[found], codes[1]):
        return 0.0  # an outcome that is not listed
    counts = found.bincount(minlength=len(known))
    rare = probs * DRAWS < 20
    counts = torch.cat([counts[~rare], counts[rare].sum().view(1)])
    return frequency_p(counts, torch.cat([probs[~rare], probs[rare].sum().view(1)]))
