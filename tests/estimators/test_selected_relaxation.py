"""The proposal f_k ∇β_k, and what is wrong with it: the facts of the six-class case."""

import pytest
import torch

import gatewise as gw
from gatewise.estimators import Baseline
from tests.chance import seeded

LOGITS = torch.tensor([-0.2, 0.0, 1.1, -0.3, 1.1, -0.1])
LOG_LIKELIHOODS = torch.tensor([-3.2, -2.2, -1.9, -2.3, -1.7, -3.0])


class ExpectedValue(Baseline):
    """b = E f, exact."""

    def forward(self, values, context):
        return LOGITS.softmax(0) @ LOG_LIKELIHOODS


def exact_gradient():
    logits = LOGITS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(logits.softmax(0) @ LOG_LIKELIHOODS, logits)
    return gradient.double()


def gradients(draws, offset=0.0, num_samples=1, seed=8, **options):
    """`[R, 6]`: R estimates of the gradient."""
    logits = LOGITS.expand(draws, -1).clone().requires_grad_()
    table = LOG_LIKELIHOODS + offset
    estimator = gw.estimators.get("selected-relaxation", **options)
    value = gw.expect(gw.by_index(lambda index: table[index]), logits, estimator, num_samples, seeded(seed)).value
    return torch.autograd.grad(value.sum(), logits)[0].double()


def cosine(first, second):
    return (first @ second / (first.norm() * second.norm())).item()


@pytest.mark.parametrize(("temperature", "right", "batches"), [(2.0, -0.68, 1), (1.0, -0.46, 4), (0.5, 0.57, 15)])
def test_it_points_away_from_the_gradient(temperature, right, batches):
    """The standard error of the cosine is .004, .009 and .019 for one batch, so below .005: .02 is four of them."""
    means = [gradients(400_000, seed=seed, temperature=temperature).mean(0) for seed in range(batches)]
    found = cosine(torch.stack(means).mean(0), exact_gradient())
    assert found == pytest.approx(right, abs=0.02)


def test_its_length_tends_to_one_half():
    """Four standard errors of .010 around the .491 found with 3 million draws: nothing near 1 passes."""
    exact = exact_gradient()
    length = gradients(2_000_000, temperature=0.02) @ exact / exact.square().sum()
    error = (length.std() / len(length) ** 0.5).item()
    assert error < 0.011
    assert length.mean().item() == pytest.approx(0.491, abs=4 * error)


def test_it_changes_when_a_constant_is_added_to_f():
    """A constant has no gradient, but turns this estimate around."""
    plain, shifted = (gradients(200_000, offset).mean(0) for offset in (0.0, 2.5))
    assert cosine(plain, exact_gradient()) < -0.3
    assert cosine(shifted, exact_gradient()) > 0.9


def test_with_a_baseline_that_moves_along_a_constant_changes_nothing():
    plain, shifted = (gradients(1000, offset, 2, baseline="leave-one-out") for offset in (0.0, 2.5))
    torch.testing.assert_close(plain, shifted, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("temperature", [2.0, 1.0, 0.5, 0.2])
def test_a_baseline_and_doubling_repair_it(temperature):
    repaired = gradients(400_000, temperature=temperature, baseline=ExpectedValue(), scale=2.0).mean(0)
    assert cosine(repaired, exact_gradient()) >= 0.99
    length = repaired @ exact_gradient() / exact_gradient().square().sum()
    assert 0.2 < length < 1.0


def test_scale_multiplies_the_gradient_and_not_the_value():
    def one(scale):
        logits = LOGITS.expand(100, -1).clone().requires_grad_()
        estimator = gw.estimators.get("selected-relaxation", scale=scale)
        f = gw.by_index(lambda index: LOG_LIKELIHOODS[index])
        value = gw.expect(f, logits, estimator, generator=seeded(1)).value
        return value, torch.autograd.grad(value.sum(), logits)[0]

    (value, gradient), (value_twice, gradient_twice) = one(1.0), one(2.0)
    assert torch.equal(value, value_twice)
    torch.testing.assert_close(gradient_twice, 2 * gradient)


def test_for_several_latents_the_directions_add_up():
    """scale · (f - b) Σ_l ∇β_{k_l}, from the same noise."""
    logits = torch.stack([LOGITS, LOGITS.flip(0), LOGITS.roll(1)]).requires_grad_()
    noisy = gw.noise.perturbed(logits, 4, seeded(5))
    index, relaxed = noisy.argmax(-1), (noisy / 0.7).softmax(-1)
    f = LOG_LIKELIHOODS[index].prod(-1)
    direction = relaxed.gather(-1, index.unsqueeze(-1)).squeeze(-1).sum(-1)
    (expected,) = torch.autograd.grad((2 * f * direction).mean(), logits)
    value = gw.expect(
        gw.by_index(lambda index: LOG_LIKELIHOODS[index].prod(-1)),
        logits,
        gw.estimators.get("selected-relaxation", temperature=0.7, scale=2.0),
        num_samples=4,
        event_dims=1,
        generator=seeded(5),
    ).value
    torch.testing.assert_close(value, f.mean())
    torch.testing.assert_close(torch.autograd.grad(value, logits)[0], expected)


def test_a_scale_that_is_not_positive_is_refused():
    with pytest.raises(gw.GatewiseError, match=r"scale must be a number in \(0, 100\], got"):
        gw.estimators.get("selected-relaxation", scale=0.0)
