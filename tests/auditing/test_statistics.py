import itertools
import math

import pytest
import torch

from gatewise.auditing import statistics
from tests.chance import seeded

EXACT = torch.tensor([3.0, 0.0, 4.0], dtype=torch.float64)


def moments_of(estimates, exact=EXACT):
    return statistics.moments((estimates - exact) / exact.norm(), exact / exact.norm())


def test_the_moments_are_those_of_the_sample_in_units_of_the_gradient():
    estimates = EXACT + torch.randn(50, 3, generator=seeded(0), dtype=torch.float64)
    found = moments_of(estimates)
    away = (estimates - EXACT) / 5
    covariance = away.T.cov()
    assert found.repetitions == 50
    assert math.isclose(found.deviation, float(away.mean(0).square().sum()))
    assert math.isclose(found.trace, float(covariance.trace()))
    assert math.isclose(found.largest, float(torch.linalg.eigvalsh(covariance)[-1]))
    assert math.isclose(found.along, float(away.mean(0) @ EXACT / 5))
    assert math.isclose(found.along_variance, float(EXACT @ covariance @ EXACT / 25))
    assert math.isclose(found.square_error, float(away.square().sum(1).mean()))


@pytest.mark.parametrize("count", [4, 5])
def test_the_trace_of_the_squared_covariance_is_estimated_without_bias(count):
    # all samples of `count` draws from three atoms, each with its probability: an expectation, not an average
    atoms = torch.tensor([[0.0, 1.0], [2.0, -1.0], [0.5, 3.0]], dtype=torch.float64)
    probs = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    mean = probs @ atoms
    covariance = (atoms - mean).T @ (probs.unsqueeze(1) * (atoms - mean))
    total = plain = 0.0
    for draw in itertools.product(range(3), repeat=count):
        centred = atoms[list(draw)] - atoms[list(draw)].mean(0)
        lengths = centred.square().sum(1)
        sample = (centred.T @ centred).square().sum() / (count - 1) ** 2
        trace, fourth = lengths.sum() / (count - 1), lengths.square().sum() / (count - 1)
        weight = float(probs[list(draw)].prod())
        total += weight * float(statistics.unbiased_trace_squared(count, sample, trace, fourth))
        plain += weight * float(sample)
    truth = float(covariance.square().sum())
    assert math.isclose(total, truth, rel_tol=1e-12)
    assert plain > 1.05 * truth


def test_millions_of_repetitions_do_not_overflow():
    one = torch.tensor(1.0, dtype=torch.float64)
    assert float(statistics.unbiased_trace_squared(10**8, one, one, one)) == pytest.approx(1.0)


def test_without_a_bias_the_limit_for_noise_of_one_direction_is_that_of_a_chi_square():
    # R ‖ḡ - g‖²/λ is χ² with 1 degree of freedom: the limit leaves 0 exactly where that passes its quantile
    quantile = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(0.995, dtype=torch.float64)).item() ** 2

    def limit(statistic):
        made = statistics.Moments(100, statistic / 100, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0)
        return statistics.bias_limit(made, 0.99)

    assert limit(quantile * 0.999) == 0
    assert limit(quantile * 1.001) > 0


def test_without_noise_the_interval_is_the_bias():
    found = moments_of((EXACT + torch.tensor([0.0, 1.0, 0.0])).expand(8, 3))
    assert statistics.bias(found) == pytest.approx(0.2)
    assert statistics.bias_interval(found) == pytest.approx((0.2, 0.2))
    assert statistics.cosine(found) == pytest.approx(5 / math.sqrt(26))


@pytest.mark.parametrize("scale", [1.0, 0.5, -0.5])
def test_scale_and_cosine_of_a_multiple_of_the_gradient(scale):
    found = moments_of((scale * EXACT).expand(8, 3))
    assert found.along == pytest.approx(scale - 1)
    assert statistics.cosine(found) == pytest.approx(math.copysign(1, scale))
    assert statistics.rescaled_error(found) == pytest.approx(0.0 if scale > 0 else 1.0, abs=1e-12)


def test_the_error_at_the_best_step_length_is_the_least_over_all_lengths():
    estimates = 0.3 * EXACT + torch.randn(200, 3, generator=seeded(1), dtype=torch.float64)
    factors = torch.linspace(0, 3, 3001, dtype=torch.float64)
    errors = (factors.view(-1, 1, 1) * estimates - EXACT).square().sum(-1).mean(1) / 25
    assert statistics.rescaled_error(moments_of(estimates)) == pytest.approx(float(errors.min()), abs=1e-6)


@pytest.mark.parametrize("kind", ["isotropic", "anisotropic", "rank-one"])
@pytest.mark.parametrize("size", [0.0, 0.1])
def test_the_intervals_cover(kind, size):
    """1,000 samples of 128 in 20 dimensions. By the binomial distribution: false alarm 1e-9 at a coverage of .95, and
    2e-9 at a rate of 1 %; a coverage of .87, or a rate of 5 % called biased, is caught with probability .99.
    """
    generator, count, size_of = seeded(2), 1000, 20
    exact = torch.zeros(size_of, dtype=torch.float64)
    exact[0] = 1.0
    shape = 0.8 ** torch.arange(size_of, dtype=torch.float64) if kind == "anisotropic" else torch.ones(size_of).double()
    covered = called = 0
    for _ in range(count):
        drawn = torch.randn(128, size_of, generator=generator, dtype=torch.float64)
        noise = drawn[:, :1] * torch.eye(size_of, dtype=torch.float64)[1] if kind == "rank-one" else drawn * shape
        estimates = exact + 0.3 * noise
        estimates[:, 1] += size
        found = moments_of(estimates, exact)
        low, high = statistics.bias_interval(found)
        covered += low <= size <= high
        called += statistics.bias_limit(found, statistics.BIASED_LEVEL) > 0
    assert covered >= 903, covered
    if size == 0:
        assert called <= 33, called
