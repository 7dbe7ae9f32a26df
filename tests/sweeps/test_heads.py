"""The sweep in its short form: few cases of each head."""

import pytest
import torch

from gatewise.mixture import Poisson
from tests.sweeps.heads import HEADS, QUANTILES, errors, quantile_error


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", HEADS)
def test_it_is_right_to_1e_5_of_its_own_size(name, dtype):
    found = errors(name, 20 if name == "student-t" else 60, dtype)
    assert found.keys() >= {"log p"}
    assert max(found.values()) < 1e-5, found


@pytest.mark.parametrize("name", QUANTILES)
def test_a_quantile_has_the_probability_below_it(name):
    assert quantile_error(name, 20) < 1e-5


def test_counts_of_a_million():
    """-log √(2πy) and little more, where float32 is off by a nat if it is not written so."""
    found = Poisson().log_prob(torch.tensor([1e6]), torch.tensor(1e6)).item()
    assert found == pytest.approx(-7.82669390, abs=1e-6)
