"""Behind a mask f may have no value: what is claimed to be right is so with f(z) = log ⟨z, θ⟩ and θ = 0 there."""

import pytest
import torch

import gatewise as gw
from gatewise.testing.checks.exactness import list_outcomes, logits_drawn_from
from tests.chance import seeded
from tests.estimators.cases import CASES

THETA = torch.tensor([0.0, 0.3, 1.9, 0.7, 2.5], dtype=torch.float64)
LOGITS = torch.tensor([-torch.inf, 0.4, -0.3, 1.1, 0.0], dtype=torch.float64)
DRAWS = 10_000

both = pytest.mark.parametrize("event_dims", [0, 1])


def logits_of(event_dims):
    """Category 0 is masked; of the second latent all but one are."""
    alone = torch.where(torch.arange(5) == 2, 0.0, -torch.inf).double()
    return torch.stack([LOGITS, alone]) if event_dims else LOGITS


def log_of(theta, event_dims):
    """f(z) = log ⟨z, θ⟩, summed over latents, for θ `[K]` or `[*batch, K]`."""

    def f(point):
        values = (point * (theta.unsqueeze(-2) if event_dims else theta)).sum(-1).log()
        return values.sum(-1) if event_dims else values

    return f


def exact(event_dims):
    """E f, and its gradients for the logits and for θ, over the categories that are left alone."""
    logits, theta = logits_of(event_dims).requires_grad_(), THETA.clone().requires_grad_()
    value = (logits[..., 1:].softmax(-1) * theta[1:].log().where(logits[..., 1:] > -torch.inf, 0.0)).sum()
    return [value.detach(), *torch.autograd.grad(value, (logits, theta))]


class Raw:
    """An integrand that does not know the logits, and so answers for all where it is asked for all."""

    def __init__(self, theta):
        self.theta, self.asked_for_all = theta, False

    def at_index(self, index):
        # what stands in for -1 is 2, which may be asked
        return torch.where(index >= 0, self.theta[torch.where(index < 0, 2, index)].log(), 0.0)

    def at_all(self):
        self.asked_for_all = True
        return self.theta.log().expand(3, 5)

    def at_point(self, point):
        return (point @ self.theta).log()


@both
@pytest.mark.parametrize("case", CASES, ids=str)
def test_all_that_is_claimed_is_right(case, event_dims):
    """By enumeration to 1e-10; else by 10,000 draws, within 6 standard errors: a false alarm in 1 of 1e8 numbers."""
    subject, logits = case.subject(), logits_of(event_dims)
    estimator, count = case.make().double(), subject.counts(2)[-1]
    batch, probability = DRAWS, torch.full((DRAWS,), 1 / DRAWS, dtype=torch.float64)
    if subject.outcomes is not None:
        index, probability = list_outcomes(subject, logits_drawn_from(subject, estimator, logits, count), count)
        estimator.draw_index = lambda *_, **__: index
        batch = len(probability)
    leaf = logits.expand(batch, *logits.shape).clone().requires_grad_()
    theta = THETA.expand(batch, 5).clone().requires_grad_()
    context = torch.ones(batch, 3, dtype=torch.float64)
    value = gw.expect(log_of(theta, event_dims), leaf, estimator, count, seeded(3), event_dims, context).value
    found = dict(zip(("logits", "parameters"), torch.autograd.grad(value.sum(), (leaf, theta)), strict=True))
    found["value"] = value.detach()
    for what, right in zip(("value", "logits", "parameters"), exact(event_dims), strict=True):
        assert found[what].isfinite().all()
        if what in estimator.unbiased:
            samples = found[what].flatten(1) if found[what].dim() > 1 else found[what].unsqueeze(1)
            exactly = subject.outcomes is not None or case.name == "enumeration"
            error = 0.0 if exactly else 6 * samples.std(0) / batch**0.5
            assert ((probability @ samples - right.flatten()).abs() <= error + 1e-10).all()


@pytest.mark.parametrize("options", [{}, {"support_only": True}], ids=str)
def test_an_integrand_that_does_not_know_the_logits_is_not_asked_for_all(options):
    theta, logits = THETA.clone().requires_grad_(), LOGITS.expand(3, 5)
    raw = Raw(theta)
    estimate = gw.expect(raw, logits, gw.estimators.get("enumeration", **options))
    (gradient,) = torch.autograd.grad(estimate.value.sum(), theta)
    assert not raw.asked_for_all
    assert estimate.info.evaluations.tolist() == [4, 4, 4]
    torch.testing.assert_close(gradient, 3 * exact(0)[2])


@both
def test_a_probability_that_is_too_small_to_be_one_is_as_good_as_a_mask(event_dims):
    """Of 1e-400 nothing is left in float64, and nothing asks for it."""
    theta, logits = THETA.clone().requires_grad_(), logits_of(event_dims).clamp_min(-1000.0).requires_grad_()
    for name in ("enumeration", "sum-and-sample", "unordered-set"):
        value = gw.expect(log_of(theta, event_dims), logits, gw.estimators.get(name), 3, seeded(1), event_dims).value
        assert all(found.isfinite().all() for found in (value, *torch.autograd.grad(value, (logits, theta))))
