"""Hard EM, and the annealing that leads to it."""

import pytest
import torch

import gatewise as gw
from gatewise.objectives import HardEM, Marginal
from tests.mixture.models import bank_mixture, data


def gradients(mixture, value):
    return torch.autograd.grad(value.sum(), list(mixture.parameters()), materialize_grads=True)


def test_its_value_is_the_best_explanation_at_any_temperature():
    mixture = bank_mixture()
    best = mixture.observe(*data()).log_joint().amax(-1)
    for temperature in (1.0, 0.01):
        value = HardEM(temperature)(mixture.observe(*data())).value
        torch.testing.assert_close(value, best, rtol=0, atol=0)
        assert (value < mixture.log_prob(*data())).all()


def test_at_temperature_1_its_gradient_is_em():
    mixture = bank_mixture()
    found = gradients(mixture, HardEM(1.0)(mixture.observe(*data())).value)
    right = gradients(mixture, Marginal()(mixture.observe(*data())).value)
    for first, second in zip(found, right, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-10)


def test_as_the_temperature_falls_the_winner_takes_all():
    """The gradient is then that of the maximum itself."""
    mixture = bank_mixture()
    found = gradients(mixture, HardEM(1e-6)(mixture.observe(*data())).value)
    right = gradients(mixture, mixture.observe(*data()).log_joint().amax(-1))
    for first, second in zip(found, right, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-10)


def test_the_temperature_follows_its_schedule():
    objective = HardEM()
    assert objective.temperature == 1.0
    objective.set_progress(1.0)
    assert objective.temperature == pytest.approx(0.05)
    assert gw.objectives.get("marginal").temperature is None


@pytest.mark.parametrize("temperature", [0, "linear:1:0", "step:1:0:1", -1])
def test_a_temperature_that_reaches_0_is_refused(temperature):
    with pytest.raises(gw.GatewiseError, match="objective 'hard-em': the temperature must be positive, got"):
        HardEM(temperature)
