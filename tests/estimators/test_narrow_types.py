"""In 16 bits nothing but what goes in and what comes out is rounded: sums, means and states are not.

f is 100 and more, in steps that 16 bits hold exactly, so that all rounding is the estimator's own. What comes out is
rounded once: the value of a draw to u · |value|, and its gradient, which autograd hands over in the logits' type, to
u · |gradient|, with u = 2^-9 in bfloat16 and 2^-12 in float16, half of the distance of neighbours. So much is
allowed, weighed by the probabilities of the draws, twice: a gradient passes a softmax in float32, and is rounded after.
"""

import pytest
import torch

import gatewise as gw
from gatewise.testing.checks.exactness import list_outcomes, logits_drawn_from
from tests.chance import seeded
from tests.estimators.cases import CASES, LOGITS

UNITS = {torch.bfloat16: 2.0**-9, torch.float16: 2.0**-12}
LARGEST = 108.0
DRAWS = 4096

INTERIOR = ("muprop", "rebar", "relax")
"""What asks f between the categories, where its own value is rounded: c(z̃) is then off by as much as f's rounding."""


def table_of(event_dims):
    """f of one category; of two latents f is the sum of two."""
    steps = torch.tensor([0.0, 1.5, -2.0, 4.0, 0.5], dtype=torch.float64)
    return (50 if event_dims else 100) + steps


def logits_of(event_dims, dtype):
    """Rounded to the type."""
    logits = torch.stack([LOGITS, LOGITS.flip(0)]) if event_dims else LOGITS
    return logits.to(dtype)


def run(case, logits, table, event_dims, index=None, draws=DRAWS):
    """The values and the logits' gradients of all draws, or of the draws listed, in float64."""
    estimator = case.make()
    if index is not None:
        estimator.draw_index = lambda *_, **__: index
        draws = index.shape[1]
    leaf = logits.expand(draws, *logits.shape).clone().requires_grad_()
    context = torch.ones(draws, 3)
    count = case.subject().counts(2)[-1]
    f = lambda point: (point * table.to(point.dtype)).sum((-1, -2) if event_dims else -1)  # noqa: E731
    value = gw.expect(f, leaf, estimator, count, seeded(2), event_dims, context).value
    assert value.dtype == logits.dtype
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach().double(), gradient.double()


def exact(logits, table, event_dims):
    """E f and its gradient, by enumeration in float64."""
    leaf = logits.double().requires_grad_()
    value = (leaf.softmax(-1) * table).sum()
    return value.detach(), torch.autograd.grad(value, leaf)[0]


@pytest.mark.parametrize("event_dims", [0, 1])
@pytest.mark.parametrize("dtype", UNITS, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_estimate_is_that_of_float64(case, dtype, event_dims):
    """Over all outcomes, beside enumeration (where that is claimed); else beside float32, from the same noise."""
    unit, subject, table = UNITS[dtype], case.subject(), table_of(event_dims)
    logits, count = logits_of(event_dims, dtype), subject.counts(2)[-1]
    index, probability = None, torch.full((DRAWS,), 1 / DRAWS, dtype=torch.float64)
    if subject.outcomes is not None:
        given = logits_drawn_from(subject, case.make(), logits, count).double()
        index, probability = list_outcomes(subject, given, count)
    wide = logits.double() if index is not None else logits.float()
    value, gradient = run(case, logits, table, event_dims, index)
    right = [torch.tensordot(probability, each, 1) for each in run(case, wide, table, event_dims, index)]
    if index is not None or case.name == "enumeration":
        of_the_sum = exact(logits, table, event_dims)
        right = [
            found if what in case.make().unbiased else mean
            for what, found, mean in zip(("value", "logits"), of_the_sum, right, strict=True)
        ]
    inside = LARGEST * unit if case.name in INTERIOR else 0.0
    for found, expected, least in zip((value, gradient), right, (LARGEST * unit, inside), strict=True):
        mean, size = (torch.tensordot(probability, each, 1) for each in (found, found.abs()))
        assert ((mean - expected).abs() <= 2 * unit * size + least + 1e-4).all()


def test_a_sum_over_outcomes_of_16_bits_is_off_by_its_last_rounding_alone():
    """f + 100, two latents, bfloat16: the gradient by enumeration was 94 to 121 % off."""
    table, logits = table_of(1), logits_of(1, torch.bfloat16)
    right = exact(logits, table, 1)[1]
    for name in ("enumeration", "sum-and-sample", "unordered-set"):
        leaf = logits.clone().requires_grad_()
        f = lambda point: (point * table.to(point.dtype)).sum((-1, -2))  # noqa: E731
        value = gw.expect(f, leaf, gw.estimators.get(name), 25, event_dims=1).value
        (found,) = torch.autograd.grad(value, leaf)
        assert ((found.double() - right).norm() / right.norm()).item() < 2.0**-8


# States


def states(module):
    return {name: held for name, held in [*module.named_buffers(), *module.named_parameters()] if held.dim() == 0}


@pytest.mark.parametrize("case", [case for case in CASES if states(case.make())], ids=str)
def test_a_state_stays_in_float32_whatever_the_model_is_cast_to(case):
    """Means, scales and steps move by less than 16 bits can tell."""
    before = states(case.make())
    for dtype in UNITS:
        after = states(case.make().to(dtype))
        for name, held in before.items():
            if not name.endswith("constant"):  # a weight of a learned baseline, which is a network
                assert after[name].dtype == torch.float32
                assert torch.equal(after[name], held)
    assert all(held.dtype == torch.float64 for name, held in states(case.make().double()).items())


def test_a_balance_bias_moves_in_small_steps_in_a_model_of_16_bits():
    gate = gw.mixture.Gate(gw.mixture.mlp(4, [], 3), 3, balance=True).bfloat16()
    with torch.no_grad():
        gate.balance.bias.fill_(1.0)
    gate.balance.update(torch.tensor([4, 0, 2]), rate=0.001)
    torch.testing.assert_close(gate.balance.bias, torch.tensor([0.999, 1.001, 1.0]))
    assert gate(torch.zeros(2, 4, dtype=torch.bfloat16)).dtype == torch.float32


def test_a_running_mean_of_values_in_16_bits_does_not_stand_still():
    """Steps of a thousandth of 100 are less than bfloat16 tells of numbers that large."""
    estimator = gw.estimators.get("score-function", decay=0.999).bfloat16()
    for value in (100.0, *[104.0] * 200):
        logits = torch.zeros(64, 3, dtype=torch.bfloat16, requires_grad=True)
        estimate = gw.expect(lambda point, value=value: point.sum(-1) * value, logits, estimator)
        estimate.value.sum().backward()
    kept = 0.999**200
    right = (0.001 * kept * 100 + (1 - kept) * 104) / (1 - 0.999**201)
    assert estimator.baseline(torch.zeros(1), None).item() == pytest.approx(right, abs=1e-3)


NETWORKS = ("relax", "learned")
"""What has a network of its own, which autocast runs in 16 bits like any other."""


@pytest.mark.parametrize("event_dims", [0, 1])
@pytest.mark.parametrize("case", [case for case in CASES if not any(each in str(case) for each in NETWORKS)], ids=str)
def test_autocast_changes_nothing_that_an_estimator_computes(case, event_dims):
    """f has no product of matrices here, so that what differs is the estimator's: shares of sets once, by 12 %."""
    logits = logits_of(event_dims, torch.float32)
    plain = run(case, logits, table_of(event_dims), event_dims, draws=64)
    with torch.autocast("cpu", torch.bfloat16):
        found = run(case, logits, table_of(event_dims), event_dims, draws=64)
    assert all(torch.equal(one, other) for one, other in zip(found, plain, strict=True))
