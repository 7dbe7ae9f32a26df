"""Regularisers: closed forms, signs, sums over micro-batches, and hard gates."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gatewise as gw
from gatewise.objectives import (
    Dirichlet,
    GateEntropy,
    Importance,
    Load,
    MutualInformation,
    Prior,
    Regulariser,
    ZLoss,
    regularisers,
)
from gatewise.objectives.regularisers import REGULARISERS
from gatewise.schedules import Linear
from gatewise.testing.checks.repetition import FORMS
from tests.chance import seeded

K = 4
EVERY = pytest.mark.parametrize("kind", REGULARISERS.values(), ids=list(REGULARISERS))

UNIFORM = torch.zeros(8, K, dtype=torch.float64)
COLLAPSED = torch.tensor([50.0, 0, 0, 0], dtype=torch.float64).expand(8, K)
SHARED_OUT = 50.0 * torch.eye(K, dtype=torch.float64).repeat(2, 1)

CLOSED_FORMS = [
    # each row sure of nothing; all sure of one expert; each row sure, and all experts in use
    (GateEntropy, -math.log(K), 0.0, 0.0),
    (Importance, 0.0, K - 1, 0.0),
    (Load, 0.0, K - 1, 0.0),
    (ZLoss, math.log(K) ** 2, 2500.0, 2500.0),
    (MutualInformation, 0.0, 0.0, -math.log(K)),
    (Dirichlet, 0.0, 50 * (K - 1) / K - math.log(K), 0.0),
    (Prior, 0.0, math.log(K), 0.0),
]


def some_logits(rows=12, scale=1.5):
    return (torch.randn(rows, K, generator=seeded(1), dtype=torch.float64) * scale).requires_grad_()


@pytest.mark.parametrize(("kind", "uniform", "collapsed", "shared"), CLOSED_FORMS)
def test_closed_forms(kind, uniform, collapsed, shared):
    for logits, right in ((UNIFORM, uniform), (COLLAPSED, collapsed), (SHARED_OUT, shared)):
        assert kind()(logits).item() == pytest.approx(right, abs=1e-9)


def test_the_closed_forms_cover_all():
    assert {form[0] for form in CLOSED_FORMS} == set(REGULARISERS.values())
    names = ["gate_entropy", "importance", "load", "z_loss", "mutual_information", "dirichlet", "prior"]
    assert list(REGULARISERS) == names


def test_written_out():
    logits = some_logits()
    probs = logits.detach().softmax(-1)
    mean, rows = probs.mean(0), len(logits)
    row_entropy = -(probs * probs.log()).sum(-1).mean()
    shares = torch.bincount(logits.argmax(-1), minlength=K) / rows
    expected = {
        "gate_entropy": -row_entropy,
        "importance": mean.var(unbiased=False) / mean.mean().square(),
        "load": K * (shares * mean).sum() - 1,
        "z_loss": logits.exp().sum(-1).log().square().mean(),
        "mutual_information": row_entropy + (mean * mean.log()).sum(),
        "dirichlet": -mean.log().mean() - math.log(K),
        "prior": (mean * (K * mean).log()).sum(),
    }
    for name, kind in REGULARISERS.items():
        torch.testing.assert_close(kind()(logits), expected[name].to(torch.float64), msg=name)
        torch.testing.assert_close(kind(0.3)(logits), 0.3 * expected[name].to(torch.float64), msg=name)


def after_descent(kind, logits, steps=200, rate=0.5):
    logits = logits.clone().requires_grad_()
    regulariser = kind()
    for _ in range(steps):
        (gradient,) = torch.autograd.grad(regulariser(logits), logits)
        logits = (logits - rate * gradient).detach().requires_grad_()
    return logits.detach()


def test_descending_does_what_it_is_for():
    start = some_logits(scale=1.5).detach() + torch.tensor([1.5, 0, 0, 0])
    before = start.softmax(-1)

    def row_entropy(logits):
        return GateEntropy()(logits).neg().item()

    def spread(logits):
        return logits.softmax(-1).mean(0).std().item()

    assert row_entropy(after_descent(GateEntropy, start)) > row_entropy(start) + 0.1
    for kind in (Importance, Load, Dirichlet, Prior):
        assert spread(after_descent(kind, start)) < 0.5 * before.mean(0).std().item()
    chosen = after_descent(MutualInformation, start, rate=2.0)
    assert row_entropy(chosen) < 0.5 * row_entropy(start)
    assert spread(chosen) < spread(start)
    assert after_descent(ZLoss, start).logsumexp(-1).abs().mean() < 0.5 * start.logsumexp(-1).abs().mean()


@EVERY
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_micro_batches_linearised_have_the_whole_batchs_gradient(kind, parts):
    logits = some_logits(12)
    regulariser = kind(0.7)
    whole = regulariser(logits)
    (expected,) = torch.autograd.grad(whole, logits)
    with torch.no_grad():
        pieces = logits.chunk(parts)
        statistics = torch.stack([regulariser.statistics(piece) for piece in pieces]).mean(0)
    total = sum(regulariser.linearised(piece, statistics) for piece in logits.chunk(parts)) / parts
    (found,) = torch.autograd.grad(total, logits)
    assert expected.norm() > 0
    torch.testing.assert_close(total, whole)
    torch.testing.assert_close(found, expected)


@EVERY
def test_a_penalty_said_to_be_linear_is(kind):
    """Those that say so need no second pass: the mean over micro-batches is the whole batch's."""
    logits = some_logits(12)
    regulariser = kind()
    mean = torch.stack([regulariser(piece) for piece in logits.chunk(4)]).mean()
    assert torch.allclose(mean, regulariser(logits)) == kind.linear


@EVERY
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
def test_hard_gates_stay_finite(kind, dtype, masked):
    logits = torch.randn(6, K, generator=seeded(2)) * 1e4
    if masked:
        logits[:, 1] = -torch.inf
    logits = logits.to(dtype).requires_grad_()
    regulariser = kind()
    value = regulariser(logits)
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()
    whole = regulariser.statistics(logits.detach())
    assert regulariser.linearised(logits, whole).isfinite()


@given(st.integers(1, 5), st.integers(1, 6), st.floats(0, 30))
def test_bounds_hold_for_any_gate(rows, experts, scale):
    logits = torch.randn(rows, experts, generator=seeded(3), dtype=torch.float64) * scale
    slack = 1e-9
    assert -math.log(experts) - slack <= GateEntropy()(logits) <= slack
    assert -slack <= Importance()(logits) <= experts - 1 + slack
    assert -1 - slack <= Load()(logits) <= experts - 1 + slack
    assert ZLoss()(logits) >= 0
    assert -math.log(experts) - slack <= MutualInformation()(logits) <= slack
    assert Dirichlet()(logits) >= -slack
    assert -slack <= Prior()(logits) <= math.log(experts) + slack


def test_shares_of_load_have_no_gradient_of_their_own():
    """The gradient is that of Σ f_k p̄_k with f held fixed."""
    logits = some_logits()
    shares = torch.bincount(logits.argmax(-1), minlength=K).double() / len(logits)
    (found,) = torch.autograd.grad(Load()(logits), logits)
    (expected,) = torch.autograd.grad(K * (shares * logits.softmax(-1).mean(0)).sum(), logits)
    torch.testing.assert_close(found, expected)


# The priors


def test_dirichlet_is_the_prior_s_density_up_to_a_constant():
    """With weight (α - 1) K / N: differences between gates are those of -log Dir(p̄; α) / N."""
    alpha, rows = 3.0, 500
    density = torch.distributions.Dirichlet(torch.full((K,), alpha, dtype=torch.float64))
    gates = [some_logits().detach(), 0.3 * some_logits().detach()]
    expected = [-density.log_prob(logits.softmax(-1).mean(0)) / rows for logits in gates]
    found = [Dirichlet((alpha - 1) * K / rows)(logits) for logits in gates]
    torch.testing.assert_close(found[0] - found[1], expected[0] - expected[1])


def test_dirichlet_brings_back_what_importance_leaves_dying():
    """The pull on the score of an expert of almost no probability stays; that of `importance` vanishes with it."""
    logits = torch.tensor([[1.0, 0, 0, -30]], dtype=torch.float64, requires_grad=True)
    pulls = [torch.autograd.grad(kind()(logits), logits)[0][0, -1].item() for kind in (Dirichlet, Importance)]
    assert pulls[0] == pytest.approx(-1 / K, rel=1e-6)
    assert abs(pulls[1]) < 1e-10


def test_an_expert_without_any_probability_is_charged_without_nan():
    logits = torch.tensor([[0.0, 0, 0, -torch.inf]], requires_grad=True)
    for regulariser in (Dirichlet(), Prior(1.0, [0.1, 0.2, 0.3, 0.4])):
        value = regulariser(logits)
        (gradient,) = torch.autograd.grad(value, logits)
        assert value.isfinite()
        assert value > 0
        assert gradient.isfinite().all()


def test_the_prior_is_what_the_mean_gate_is_drawn_to():
    prior = [0.1, 0.2, 0.3, 0.4]
    wanted = torch.tensor(prior, dtype=torch.float64)
    mean = some_logits().detach().softmax(-1).mean(0)
    torch.testing.assert_close(Prior(0.5, prior)(some_logits()), 0.5 * (mean * (mean / wanted).log()).sum())
    assert Prior(1.0, prior)(wanted.log().expand(8, K)).item() == pytest.approx(0.0, abs=1e-12)
    logits = some_logits().detach().requires_grad_()
    optimiser = torch.optim.SGD([logits], lr=5.0)
    for _ in range(600):
        optimiser.zero_grad()
        Prior(1.0, prior)(logits).backward()
        optimiser.step()
    torch.testing.assert_close(logits.softmax(-1).mean(0), wanted, rtol=0, atol=1e-3)


@pytest.mark.parametrize("prior", [[], [0.5, 0.4], [1.0, 0.0], [1.5, -0.5], [float("nan"), 0.5]], ids=str)
def test_a_prior_that_is_none(prior):
    with pytest.raises(gw.GatewiseError, match="positive probabilities that sum to 1"):
        Prior(1.0, prior)


def test_a_prior_for_other_experts_or_for_nobody():
    with pytest.raises(gw.GatewiseError, match="3 probabilities for 4 experts"):
        Prior(1.0, [0.2, 0.3, 0.5])(UNIFORM)
    with pytest.raises(gw.GatewiseError, match="read by the regulariser prior alone"):
        regularisers({"load": 0.1}, expert_prior=[0.5, 0.5])
    (made,) = regularisers({"prior": 0.1}, expert_prior=[0.25, 0.75])
    assert made.prior == [0.25, 0.75]


# Weights and names


def test_weights_follow_their_schedule():
    regulariser = GateEntropy("linear:1:0.25")
    values = []
    for progress in (0.0, 0.5, 1.0):
        regulariser.set_progress(progress)
        values.append(regulariser(UNIFORM).item() / -math.log(K))
    assert values == pytest.approx([1.0, 0.625, 0.25])
    assert Importance(Linear(3, 1)).weight == 3


def test_regularisers_are_made_by_name():
    made = regularisers({"gate_entropy": 0.1, "importance": "linear:1:0.5", "load": 0, "z_loss": 0.0})
    assert [(type(r), r.weight) for r in made] == [(GateEntropy, 0.1), (Importance, 1.0)]
    assert regularisers({}) == []


def test_an_unknown_regulariser_is_told_the_nearest():
    with pytest.raises(gw.GatewiseError, match="unknown regulariser 'gate-entropy'; did you mean 'gate_entropy'"):
        regularisers({"gate-entropy": 1.0})
    with pytest.raises(gw.GatewiseError, match="is not a schedule"):
        regularisers({"load": "much"})


def test_the_base_says_what_is_missing():
    with pytest.raises(TypeError, match="Regulariser does not define statistics"):
        Regulariser()(UNIFORM)


@EVERY
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_what_a_checkpoint_repeats_changes_nothing(kind, form):
    """Of one batch, and of a micro-batch with the statistics of the whole."""
    penalty, logits, again = kind(0.7), some_logits(), some_logits()
    whole = penalty.statistics(some_logits(rows=30)).detach()
    for charge in (penalty, lambda logits: penalty.linearised(logits, whole)):
        value, right = form(charge, logits), charge(again)
        torch.testing.assert_close(value, right)
        value.backward()
        right.backward()
        torch.testing.assert_close(logits.grad, again.grad)


@EVERY
def test_no_rows_cost_nothing(kind):
    """Neither alone, nor as a part of a batch that has some elsewhere."""
    penalty, logits, whole = kind(0.7), some_logits(rows=0), some_logits()
    assert penalty(logits) == 0
    assert penalty.statistics(logits).eq(0).all()
    found = penalty.linearised(logits, penalty.statistics(whole))
    torch.testing.assert_close(found, penalty(whole))
    for value in (penalty(logits), found):
        assert torch.autograd.grad(value, logits)[0].shape == (0, K)
