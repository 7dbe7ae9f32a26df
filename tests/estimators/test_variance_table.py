"""Variances by enumeration: three Bernoulli latents with one shared logit, f(b) = Σ (b_i - p_i)².

The choice is the joint one of 2³ = 8 outcomes; the gradient is that for the shared logit φ. The figures are exact, and
hold to 2 % (leave-one-out: 5 %); see Liu et al. 2019 (1810.04777) and Kool et al. 2020 (2002.06043) for the setting.
"""

import itertools

import pytest
import torch

import gatewise as gw
from gatewise.outcomes import joint_outcomes

P = torch.tensor([0.6, 0.51, 0.48], dtype=torch.float64)
OUTCOMES = joint_outcomes(3, 2)
F = (OUTCOMES.double() - P).square().sum(-1)


def joint_logits(phi):
    """log π of the 8 outcomes, from the shared logit."""
    each = torch.stack([torch.zeros_like(phi), phi], -1).log_softmax(-1)
    return each[..., OUTCOMES].sum(-1)


def sets(k):
    """Every set of k of the 8, all equally likely at φ = 0; the estimate does not depend on the order."""
    index = torch.tensor(list(itertools.combinations(range(8), k))).T
    return index, torch.full((index.shape[1],), 1 / index.shape[1], dtype=torch.float64)


def independent(k):
    return torch.cartesian_prod(*[torch.arange(8)] * k).view(-1, k).T, torch.full((8**k,), 8.0**-k, dtype=torch.float64)


def summed_and_drawn(k):
    """The first k - 1 outcomes (all tie at φ = 0) and one of the rest."""
    rest = torch.arange(k - 1, 8)
    index = torch.cat([torch.arange(k - 1).unsqueeze(1).expand(-1, len(rest)), rest.unsqueeze(0)])
    return index, torch.full((len(rest),), 1 / len(rest), dtype=torch.float64)


def moments(estimator, outcomes, k):
    """Mean and variance of the gradient for φ at 0, over all outcomes of the draw."""
    index, probability = outcomes(k)
    estimator.draw_index = lambda *_: index
    phi = torch.zeros(len(probability), dtype=torch.float64, requires_grad=True)
    value = gw.expect(gw.by_index(lambda i: F[i.clamp_min(0)]), joint_logits(phi), estimator, num_samples=k).value
    (gradient,) = torch.autograd.grad(value.sum(), phi)
    mean = (probability * gradient).sum()
    return mean.item(), (probability * (gradient - mean).square()).sum().item()


@pytest.mark.parametrize(("phi", "value", "slope"), [(0.0, 0.7605, -0.0450), (-4.0, 0.8473, -0.003179)])
def test_the_expectation_and_its_gradient(phi, value, slope):
    phi = torch.tensor(phi, dtype=torch.float64, requires_grad=True)
    found = gw.expect(gw.by_index(lambda i: F[i]), joint_logits(phi), gw.estimators.get("enumeration")).value
    assert found.item() == pytest.approx(value, abs=6e-5)
    assert torch.autograd.grad(found, phi)[0].item() == pytest.approx(slope, rel=1e-3)


# the score function at 6 and 7 draws, .0731 and .0626, is its variance at one over 6 and 7
TABLE = {
    ("score-function", "none"): (independent, {1: 0.4384, 2: 0.2192, 3: 0.1461, 4: 0.1096}),
    ("unordered-set", "none"): (sets, {1: 0.438, 2: 0.188, 3: 0.104, 4: 0.0626, 6: 0.0209, 7: 0.0089}),
    ("unordered-set", "built-in"): (sets, {2: 0.00611, 3: 0.00226, 4: 0.00113, 6: 0.00032, 7: 0.00013}),
    ("sum-and-sample", None): (summed_and_drawn, {1: 0.438, 2: 0.194, 3: 0.130, 4: 0.070, 6: 0.0143, 7: 0.0074}),
}


@pytest.mark.parametrize(
    ("name", "baseline", "outcomes", "k", "variance"),
    [(*key, outcomes, k, v) for key, (outcomes, row) in TABLE.items() for k, v in row.items()],
)
def test_the_variance(name, baseline, outcomes, k, variance):
    estimator = gw.estimators.get(name, **({} if baseline is None else {"baseline": baseline}))
    mean, found = moments(estimator, outcomes, k)
    assert mean == pytest.approx(-0.0450, rel=1e-3)
    # half of the last digit printed, where that is coarser than 2 %
    digits = len(str(variance).split(".")[1])
    assert found == pytest.approx(variance, rel=0.02, abs=0.5 * 10**-digits)


@pytest.mark.parametrize(("k", "variance"), [(2, 0.0073), (3, 0.0032), (4, 0.0020)])
def test_the_variance_of_leave_one_out(k, variance):
    _, found = moments(gw.estimators.get("score-function", baseline="leave-one-out"), independent, k)
    assert found == pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize(("k", "variance"), [(6, 0.0011), (7, 0.0009)])
def test_the_variance_of_leave_one_out_with_many_draws(k, variance):
    """From 400,000 draws, whose own error is below .5 %; the figures have two digits."""
    phi = torch.zeros(400_000, dtype=torch.float64, requires_grad=True)
    estimator = gw.estimators.get("score-function", baseline="leave-one-out")
    generator = torch.Generator().manual_seed(k)
    value = gw.expect(gw.by_index(lambda i: F[i]), joint_logits(phi), estimator, k, generator).value
    (gradient,) = torch.autograd.grad(value.sum(), phi)
    assert gradient.var().item() == pytest.approx(variance, rel=0.05, abs=5e-5)


@pytest.mark.parametrize(("name", "outcomes"), [("unordered-set", sets), ("sum-and-sample", summed_and_drawn)])
def test_the_exact_end(name, outcomes):
    """All 8 asked: no variance is left."""
    mean, variance = moments(gw.estimators.get(name), outcomes, 8)
    assert mean == pytest.approx(-0.0450, rel=1e-3)
    assert variance < 1e-24


def test_the_order_of_a_set_does_not_matter():
    forwards, backwards = (
        moments(gw.estimators.get("unordered-set"), o, 3) for o in (sets, lambda k: (sets(k)[0].flip(0), sets(k)[1]))
    )
    assert forwards == pytest.approx(backwards)
