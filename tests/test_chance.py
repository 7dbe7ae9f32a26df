"""The statistical tests are tested: a test that never alarms proves nothing."""

import pytest
import torch
from scipy import stats

from tests.chance import (
    ALPHA,
    FALSE_ALARM,
    POWER,
    SampleMoments,
    chi_square_p,
    frequency_p,
    mean_p,
    noncentrality,
    seeded,
    smallest_caught,
)


def test_chi_square_p_at_textbook_values():
    assert chi_square_p(3.841459, 1) == pytest.approx(0.05, rel=1e-5)
    assert chi_square_p(11.0705, 5) == pytest.approx(0.05, rel=1e-5)


@pytest.mark.parametrize("degrees", [1, 5, 9, 40])
@pytest.mark.parametrize("shift", [0.0, 0.5, 30.0, 150.0])
@pytest.mark.parametrize("statistic", [3.0, 60.0])
def test_chi_square_p_is_scipys(degrees, shift, statistic):
    right = stats.ncx2.sf(statistic, degrees, shift) if shift else stats.chi2.sf(statistic, degrees)
    assert chi_square_p(statistic, degrees, shift) == pytest.approx(right, rel=1e-6, abs=1e-14)


@pytest.mark.parametrize("degrees", [1, 5, 10])
def test_the_noncentrality_has_the_stated_power_and_no_more(degrees):
    critical = stats.chi2.isf(ALPHA, degrees)
    assert stats.ncx2.sf(critical, degrees, noncentrality(degrees)) == pytest.approx(POWER, abs=1e-6)
    assert pytest.approx(FALSE_ALARM) == ALPHA * 1000


def test_p_values_of_true_hypotheses_are_uniform():
    noise = torch.randn(400, 500, 3, generator=seeded(1)) * torch.tensor([1.0, 5.0, 0.2])
    p = torch.tensor([mean_p(samples, torch.zeros(3)) for samples in noise])
    shares = torch.histc(p, bins=4, min=0, max=1)
    assert frequency_p(shares, torch.full((4,), 0.25)) > ALPHA
    assert (p < 0.05).float().mean() < 0.1


def test_a_shift_of_the_stated_noncentrality_is_found():
    found = 0
    for seed in range(200):
        samples = torch.randn(1000, 6, generator=seeded(seed), dtype=torch.float64)
        samples[:, 0] += (noncentrality(6) / 1000) ** 0.5
        found += mean_p(samples, torch.zeros(6)) < ALPHA
    assert found >= 196


def test_smallest_caught_is_caught_and_a_tenth_of_it_is_not():
    samples = torch.randn(4000, 3, generator=seeded(2), dtype=torch.float64) + torch.tensor([1.0, 2.0, 0.0])
    exact = torch.tensor([1.0, 2.0, 0.0])
    relative = smallest_caught(samples, exact)
    assert mean_p(samples + relative * exact, exact) < ALPHA
    assert mean_p(samples + 0.1 * relative * exact, exact) > ALPHA


def test_a_direction_without_variance_must_be_exact():
    samples = torch.randn(1000, 2, generator=seeded(3), dtype=torch.float64)
    samples[:, 1] = -samples[:, 0]
    assert mean_p(samples, torch.zeros(2)) > ALPHA
    assert mean_p(samples + 0.01, torch.zeros(2)) == 0.0


def test_frequencies_of_an_impossible_category_alarm():
    assert frequency_p(torch.tensor([10, 10, 1]), torch.tensor([0.5, 0.5, 0.0])) == 0.0
    assert frequency_p(torch.tensor([10, 10, 0]), torch.tensor([0.5, 0.5, 0.0])) == 1.0


def test_moments_of_parts_add_up():
    samples = torch.randn(300, 4, generator=seeded(4), dtype=torch.float64) * torch.arange(4) + 3
    parts, whole = SampleMoments.of(samples[:70]) + SampleMoments.of(samples[70:]), SampleMoments.of(samples)
    torch.testing.assert_close(parts.mean, samples.mean(0))
    torch.testing.assert_close(parts.covariance, samples.T.cov())
    exact = torch.full((4,), 3.0)
    assert mean_p(parts, exact) == pytest.approx(mean_p(samples, exact))
    assert smallest_caught(parts, exact) == pytest.approx(smallest_caught(whole, exact))


def test_samples_that_are_not_numbers_alarm():
    samples = torch.randn(100, 2, generator=seeded(5))
    samples[3, 1] = torch.nan
    assert mean_p(samples, torch.zeros(2)) == 0.0
    assert smallest_caught(samples, torch.ones(2)) == float("inf")
