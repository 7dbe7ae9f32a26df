"""Sparsemax and 1.5-entmax: what they are, their derivatives, and that only their support runs."""

import pytest
import torch
from torch import nn

import gatewise as gw
from gatewise.mixture import Entmax15, Sparsemax, entmax15, sparsemax
from tests.chance import seeded

MAPS = {"sparsemax": (sparsemax, 2.0), "entmax15": (entmax15, 1.5)}
each_map = pytest.mark.parametrize(("function", "alpha"), MAPS.values(), ids=MAPS)


def scores(rows=200, categories=7, scale=2.0):
    return scale * torch.randn(rows, categories, generator=seeded(3), dtype=torch.float64)


@each_map
def test_they_maximise_what_defines_them(function, alpha):
    """⟨p, θ⟩ + H_α(p), H_α the Tsallis entropy: no other point of the simplex reaches more."""

    def reached(point, theta):
        entropy = (point - point.pow(alpha)).sum(-1) / (alpha * (alpha - 1))
        return (point * theta).sum(-1) + entropy

    theta = scores()
    best = reached(function(theta), theta)
    for seed in range(30):
        noise = torch.randn(theta.shape, generator=seeded(seed), dtype=torch.float64)
        for other in (noise.softmax(-1), 0.99 * function(theta) + 0.01 * (5 * noise).softmax(-1)):
            assert (reached(other, theta) <= best + 1e-12).all()


@each_map
def test_scores_whose_sum_overflows(function, alpha):
    theta = torch.tensor([-3e38, 3e38, -3e38, -3e38]).requires_grad_()
    probs = function(theta)
    assert probs.tolist() == [0.0, 1.0, 0.0, 0.0]
    assert torch.autograd.grad(probs[1], theta)[0].tolist() == [0.0] * 4


@each_map
def test_points_of_the_simplex_with_exact_zeros(function, alpha):
    probs = function(scores())
    assert (probs >= 0).all()
    torch.testing.assert_close(probs.sum(-1), torch.ones(200, dtype=torch.float64))
    assert 0.2 < (probs == 0).double().mean() < 0.9


@each_map
def test_the_derivative(function, alpha):
    theta = scores(20, scale=1.0).requires_grad_()
    assert torch.autograd.gradcheck(function, theta, eps=1e-7, atol=1e-5)


@each_map
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_hard_scores(function, alpha, dtype):
    large = (1e4 * torch.randn(50, 6, generator=seeded(1))).to(dtype)
    masked = large.clone()
    masked[:, 1] = -torch.inf
    for theta in (large, masked, torch.zeros(3, 6, dtype=dtype), torch.zeros(3, 1, dtype=dtype)):
        theta = theta.clone().requires_grad_()
        probs = function(theta)
        (gradient,) = torch.autograd.grad(probs.square().sum(), theta)
        assert probs.isfinite().all()
        assert gradient.isfinite().all()
        torch.testing.assert_close(probs.sum(-1), torch.ones_like(probs[:, 0]))
        assert (probs[theta == -torch.inf] == 0).all()


def test_equal_scores_share_equally_and_a_lead_of_one_takes_all():
    equal = torch.zeros(4, dtype=torch.float64)
    for function in (sparsemax, entmax15):
        torch.testing.assert_close(function(equal), torch.full((4,), 0.25, dtype=torch.float64))
    assert sparsemax(torch.tensor([1.0, 0.0, -3.0])).tolist() == [1.0, 0.0, 0.0]
    assert entmax15(torch.tensor([2.0, 0.0, -3.0])).tolist() == [1.0, 0.0, 0.0]
    assert entmax15(torch.tensor([1.9, 0.0, -3.0]))[1] > 0


@pytest.mark.parametrize("gate", [Sparsemax, Entmax15])
def test_logits_whose_softmax_is_the_sparse_distribution(gate):
    theta = scores().requires_grad_()
    probs = gate().probs(theta)
    torch.testing.assert_close(gate()(theta).softmax(-1), probs)
    weights = torch.linspace(-1, 1, 7, dtype=torch.float64)
    through_logits = torch.autograd.grad((gate()(theta).softmax(-1) @ weights).sum(), theta)[0]
    torch.testing.assert_close(through_logits, torch.autograd.grad((probs @ weights).sum(), theta)[0])
    assert gate()(theta.bfloat16()).dtype == torch.float32


class Counting(gw.mixture.ExpertList):
    """Experts that count the rows each was given."""

    def __init__(self, experts):
        super().__init__(experts)
        self.rows = 0

    def grouped(self, x, counts):
        self.rows += sum(counts)
        return super().grouped(x, counts)


@pytest.mark.parametrize("gate", [Sparsemax, Entmax15])
def test_only_the_support_runs_and_the_bound_is_exact(gate):
    torch.manual_seed(0)
    experts = Counting([nn.Linear(4, 3) for _ in range(6)])
    mixture = gw.MixtureOfExperts(nn.Sequential(nn.Linear(4, 6), gate()), experts)
    with torch.no_grad():
        mixture.gate[0].weight.mul_(4)
    x, y = torch.randn(64, 4), torch.randint(0, 3, (64,))
    objective = gw.objectives.get("jensen", estimator=gw.estimators.get("enumeration", support_only=True))
    estimate = objective(mixture.observe(x, y))
    support = (mixture.gate_proba(x) > 0).sum(-1)
    assert torch.equal(estimate.info.evaluations, support)
    assert experts.rows == support.sum()
    assert support.sum() < 0.7 * 64 * 6
    gradients = torch.autograd.grad(estimate.value.sum(), list(mixture.parameters()))
    exact = gw.objectives.get("jensen")(mixture.observe(x, y))
    torch.testing.assert_close(estimate.value, exact.value)
    for found, right in zip(gradients, torch.autograd.grad(exact.value.sum(), list(mixture.parameters())), strict=True):
        torch.testing.assert_close(found, right)


def test_a_mixture_with_a_sparse_gate_learns():
    torch.manual_seed(1)
    x = torch.randn(256, 2)
    y = ((x[:, 0] > 0) ^ (x[:, 1] > 0)).long()
    mixture = gw.MixtureOfExperts(
        nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 4), Sparsemax()), [nn.Linear(2, 2) for _ in range(4)]
    )
    objective = gw.objectives.get("jensen", estimator=gw.estimators.get("enumeration", support_only=True))
    optimiser = torch.optim.Adam(mixture.parameters(), lr=0.02)
    for _ in range(300):
        loss = -objective(mixture.observe(x, y)).value.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert (mixture(x).argmax(-1) == y).float().mean() > 0.95
    assert all(p.isfinite().all() for p in mixture.parameters())
