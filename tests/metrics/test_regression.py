import math

import numpy as np
import pytest
import scipy.stats
import torch

from gatewise import MixtureOfExperts, MLPBank
from gatewise.metrics.quantiles import of_scipy
from gatewise.metrics.regression import NumberTally, crps, gate_and_experts
from gatewise.mixture import Gaussian, Poisson, StudentT, mlp
from gatewise.mixture.likelihoods import poisson_deviance
from gatewise.models.task import predicted_numbers
from tests.metrics.tallies import of_two_processes

HEADS = {"gaussian": (Gaussian(location=50.0, unit=10.0), 2), "student-t": (StudentT(location=50.0, unit=10.0), 3)}
ALL = HEADS | {"poisson": (Poisson(unit=8.0), 1)}


def made(head, outputs, rows=400):
    torch.manual_seed(7)
    mixture = MixtureOfExperts(mlp(4, [8], 3), MLPBank(3, 4, [8], outputs), head=head).eval()
    with torch.no_grad():
        for parameter in mixture.parameters():
            parameter.mul_(2)
        x = torch.randn(rows, 4)
        return mixture, x, mixture.distribution(x).sample()


def figures(mixture, *batches):
    return NumberTally(mixture).all_of(batches).result()


@pytest.fixture(params=ALL, scope="module")
def scene(request):
    return made(*ALL[request.param])


def test_the_likelihood_and_the_errors_are_those_of_the_definitions(scene):
    mixture, x, y = scene
    found = figures(mixture, (x[:150], y[:150]), (x[150:], y[150:]))
    with torch.no_grad():
        off = (mixture.predict_mean(x)[:, 0] - y).double()
        observed = mixture.observe(x, y)
        jensen = (observed.logits.softmax(-1) * observed.at_all()).sum(-1).mean()
    assert found["nll"] == pytest.approx(-observed.log_prob().mean().item(), rel=1e-5)
    assert found["jensen"] == pytest.approx(jensen.item(), rel=1e-5)
    assert found["bound_gap"] == pytest.approx(-found["nll"] - found["jensen"], abs=1e-6)
    assert found["rmse"] == pytest.approx(off.square().mean().sqrt().item(), rel=1e-5)
    assert found["mae"] == pytest.approx(off.abs().mean().item(), rel=1e-5)
    assert 1 - found["r2"] == pytest.approx((off.square().mean() / y.double().var(correction=0)).item(), rel=1e-5)
    assert found["rows"] == 400


def test_the_nll_is_a_density_in_units_of_y():
    mixture, x, y = made(*HEADS["gaussian"])
    gate, of_experts = gate_and_experts(mixture, x)
    density = (gate * scipy.stats.norm(of_experts.loc, of_experts.scale).pdf(y.numpy()[:, None])).sum(1)
    assert figures(mixture, (x, y))["nll"] == pytest.approx(-np.log(density).mean(), rel=1e-5)


def test_intervals_hold_what_they_promise_of_rows_drawn_from_the_model(scene):
    # coverage has a standard error of at most 2.5 % (400 rows): 4 of them; an interval from the wrong expert would hold
    # far fewer. Counts have atoms, so theirs hold more
    mixture, x, y = scene
    found = figures(mixture, (x, y))
    for level in (50, 90):
        error = math.sqrt(level / 100 * (1 - level / 100) / 400)
        assert found[f"coverage_{level}"] > level / 100 - 4 * error
        if not isinstance(mixture.head, Poisson):
            assert found[f"coverage_{level}"] < level / 100 + 4 * error
    assert 0 < found["width_50"] < found["width_90"]


def test_the_crps_is_the_integral_of_the_squared_difference_of_distribution_functions(scene):
    mixture, x, y = scene
    gate, of_experts = gate_and_experts(mixture, x[:40])
    targets, parts = y[:40].numpy().astype(float), of_scipy(of_experts)
    if isinstance(mixture.head, Poisson):
        points, step = np.arange(0, 400.0), 1.0
    else:
        points = np.linspace(-1500, 1600, 62001)
        step = points[1] - points[0]
    squares = np.zeros(40)
    for row in range(40):
        below = (gate[row][:, None] * _row(of_experts, parts, row).cdf(points)).sum(0)
        squares[row] = ((below - (targets[row] <= points)) ** 2).sum() * step
    tolerance = 2e-3 if isinstance(mixture.head, Gaussian) else 0.03
    np.testing.assert_allclose(crps(gate, of_experts, targets), squares, rtol=tolerance, atol=0.03)


def _row(of_experts, parts, row):
    """The experts' distributions of one row, for many points."""
    kwargs = {
        name: getattr(of_experts, name)[row].numpy()[:, None]
        for name in ("loc", "scale", "df", "rate")
        if hasattr(of_experts, name)
    }
    if "rate" in kwargs:
        return scipy.stats.poisson(kwargs["rate"])
    return scipy.stats.t(**kwargs) if "df" in kwargs else scipy.stats.norm(**kwargs)


def test_the_crps_is_least_for_the_true_distribution():
    # a proper score: on 400 rows drawn from the model it beats the same one twice as wide, and one that is shifted
    mixture, x, y = made(*HEADS["gaussian"])
    gate, true = gate_and_experts(mixture, x)
    numbers = y.numpy().astype(float)
    wide = torch.distributions.Normal(true.loc, 3 * true.scale)
    moved = torch.distributions.Normal(true.loc + 15, true.scale)
    own = crps(gate, true, numbers).mean()
    assert own < crps(gate, wide, numbers).mean()
    assert own < crps(gate, moved, numbers).mean()


def test_the_columns_of_a_prediction_are_moments_and_quantiles(scene):
    mixture, x, _ = scene
    found = predicted_numbers(mixture, x[:20], "mixture", 2)
    whole = mixture.distribution(x[:20])
    np.testing.assert_allclose(found["mean"], whole.mean.detach(), rtol=1e-5)
    np.testing.assert_allclose(found["sd"] ** 2, whole.variance.detach(), rtol=1e-4)
    # of 4000 draws a share has a standard error of 0.8 %: 5 of them
    drawn = whole.sample((4000,)).numpy()
    for q in (5, 25, 50, 75, 95):
        assert ((drawn <= found[f"q{q:02d}"]).mean(0) > q / 100 - 0.04).all()
        assert ((drawn < found[f"q{q:02d}"]).mean(0) < q / 100 + 0.04).all()
    alone = predicted_numbers(mixture, x[:20], "top1", 2)
    np.testing.assert_allclose(alone["mean"], mixture.predict_mean(x[:20], "top1")[:, 0], rtol=1e-5)


@pytest.mark.parametrize("name", HEADS)
def test_far_from_zero_no_digits_are_lost(name):
    head, outputs = HEADS[name]
    far, plain = type(head)(location=1e9, unit=2.0), type(head)()
    put_out, inside = torch.randn(50, outputs), torch.randn(50, dtype=torch.float64)
    wanted = plain.log_prob(put_out, inside.float()) - math.log(2)
    torch.testing.assert_close(far.log_prob(put_out, 1e9 + 2 * inside), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("cut", [1, 150])
def test_the_tallies_of_several_processes_are_that_of_all_rows(scene, cut):
    mixture, x, y = scene
    found = of_two_processes(lambda: NumberTally(mixture, costly=False), x, y, cut)
    whole = NumberTally(mixture, costly=False).all_of([(x, y)])
    assert found.result() == pytest.approx(whole.result(), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("rate", [1e6, 1e12, 1e15])
def test_quantiles_of_large_counts(rate):
    """Where scipy's own are NaN; against the normal distribution, from which a Poisson is 1 / √rate."""
    distribution = Poisson(unit=rate).distribution(torch.full((1, 1), 0.5, dtype=torch.float64))
    counts, rate = of_scipy(distribution), distribution.rate.item()
    for q in (0.01, 0.3, 0.99):
        found = (counts.ppf(q).item() - rate) / math.sqrt(rate)
        assert found == pytest.approx(scipy.stats.norm.ppf(q), abs=3e-3)
        assert counts.cdf(counts.ppf(q)).item() == pytest.approx(q, abs=1e-3)


def test_errors_of_targets_far_from_0():
    """A mean of 1e9 has steps of 64 in float32."""
    mixture, x, y = made(Gaussian(location=1e9, unit=1.0), 2)
    with torch.no_grad():
        outputs = mixture.experts(x)[..., 0].double()
        right = (mixture.gate_proba(x).double() * outputs).sum(1) - (y - 1e9)
    assert figures(mixture, (x, y))["rmse"] == pytest.approx(right.square().mean().sqrt().item(), rel=1e-5)


def test_the_deviance_of_large_counts():
    """2 (y log(y / rate) - y + rate) = (y - rate)² / rate, to the third order in 1e-9."""
    y, rate = torch.tensor(1e12 + 1e3, dtype=torch.float64), torch.tensor(1e12, dtype=torch.float64)
    assert poisson_deviance(y, rate).item() == pytest.approx(1e-6, rel=1e-8)
