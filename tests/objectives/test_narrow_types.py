"""Experts that answer in 16 bits: an objective sums, averages and compares their answers in float32 at least."""

import pytest
import torch

import gatewise as gw
from gatewise.mixture import Categorical
from gatewise.objectives import REGULARISERS
from tests.chance import seeded
from tests.mixture.models import EXPERTS, bank_mixture, data

from .cases import CASES, DEFINITIONS, derivatives, expected

UNITS = {torch.bfloat16: 2.0**-9, torch.float16: 2.0**-12}


class Narrow(Categorical):
    """log p + 100 rounded to 16 bits, and left in them unless it is told to be `wide`."""

    def __init__(self, dtype, wide):
        self.dtype, self.wide = dtype, wide

    def log_prob(self, outputs, y):
        rounded = (super().log_prob(outputs, y) + 100).to(self.dtype)
        return rounded.double() if self.wide else rounded


@pytest.mark.parametrize("dtype", UNITS, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_objective_is_that_of_float64_but_for_its_last_rounding(case, dtype):
    """Beside its definition by enumeration in float64 of the same rounded answers.

    A value in 16 bits is rounded to u · 100, and a gradient for the gate passes them, so that it is rounded to u of
    itself. A score function without a baseline has the gradients of single draws, 100 times as large, to be rounded.
    """
    unit, (x, y) = UNITS[dtype], (part[:1] for part in data())
    objective = case.make()
    objective.set_progress(0.5)
    narrow, wide = (bank_mixture(head=Narrow(dtype, wide)) for wide in (False, True))
    value, gate, *_ = expected(objective, narrow, x, y)
    objective = case.make()
    objective.set_progress(0.5)
    definition = DEFINITIONS[case.name](wide.observe(x, y), objective).sum()
    right, exactly, *_ = derivatives(definition, wide, objective)
    assert abs(value - right) <= unit * 108
    least = unit * 108 * max(1.0, x.abs().max()) if "score-function" in case.options.values() else 1e-10
    for found, slope in zip(gate, exactly, strict=True):
        assert ((found - slope).abs() <= 4 * unit * slope.abs() + least).all()


@pytest.mark.parametrize("dtype", UNITS, ids=str)
@pytest.mark.parametrize("name", sorted(REGULARISERS))
def test_a_regulariser_takes_its_means_in_float32(name, dtype):
    """Over 4096 rows; what is left is the rounding of a gradient to the logits' type."""
    logits = torch.randn(4096, EXPERTS, generator=seeded(1)).to(dtype)
    found, right = [], []
    for answers, given in ((found, logits), (right, logits.double())):
        leaf = given.clone().requires_grad_()
        penalty = REGULARISERS[name](1.0)(leaf)
        (gradient,) = torch.autograd.grad(penalty, leaf)
        answers += [penalty.detach().double(), gradient.double()]
    torch.testing.assert_close(found[0], right[0], rtol=1e-5, atol=1e-6)
    # float16 has nothing below 6e-8
    torch.testing.assert_close(found[1], right[1], rtol=2 * UNITS[dtype], atol=6e-8)


def test_the_entropy_of_a_gate_in_16_bits_is_summed_in_float32():
    probs = torch.full((1000,), 1e-3).bfloat16()
    right = -(probs.double() * probs.double().log()).sum()
    assert gw.mixture.information.entropy(probs).item() == pytest.approx(right.item(), rel=1e-5)
