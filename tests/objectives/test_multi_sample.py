"""The S-sample bound: between Jensen and the marginal, with every estimator of several choices, and VIMCO."""

import itertools
import math

import pytest
import torch

import gatewise as gw
from gatewise.estimators import ScoreFunction
from gatewise.objectives import VIMCO, Jensen, MultiSample
from gatewise.objectives.multi_sample import LogMean
from tests.chance import ALPHA, mean_p, seeded
from tests.estimators.cases import CASES as ESTIMATOR_CASES
from tests.mixture.models import EXPERTS, FEATURES, ROWS, bank_mixture, counting_mixture, data

from .cases import DEFINITIONS, LISTED_ESTIMATORS, derivatives, expected

FEW = 3  # experts, where joint outcomes of several sets are listed


def with_context(case):
    options = dict(case.options)
    if "context_dim" in options:
        options["context_dim"] = FEATURES
    return gw.estimators.get(case.name, **options)


# Between the Jensen bound and the marginal


def test_it_rises_with_s_from_the_jensen_bound_to_the_marginal():
    observed = bank_mixture().observe(*data())
    bounds = [MultiSample("enumeration", s)(observed).value for s in (1, 2, 3, 4, 5)]
    torch.testing.assert_close(bounds[0], Jensen()(observed).value, rtol=0, atol=1e-12)
    for lower, higher in itertools.pairwise([*bounds, observed.log_prob()]):
        assert (higher - lower > 1e-4).all()


@pytest.mark.parametrize("name", ["enumeration", "score-function", "gumbel-softmax", "straight-through", "reinmax"])
def test_one_sample_is_the_jensen_bound(name):
    """Draw by draw and at points between the experts, in value and gradient."""
    found = []
    for objective in (MultiSample(name, 1), Jensen(name)):
        mixture = bank_mixture()
        value = objective(mixture.observe(*data()), generator=seeded(3)).value
        found.append((value, *torch.autograd.grad(value.sum(), list(mixture.parameters()))))
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-12)


# The integrand


def test_points_agree_with_the_categories_at_the_corners():
    observed = bank_mixture().observe(*data())
    average = LogMean(observed, 2)
    everything = average.at_all()
    for number, (first, second) in enumerate(itertools.product(range(EXPERTS), repeat=2)):
        index = torch.tensor([first, second]).expand(1, ROWS, 2)
        corner = torch.nn.functional.one_hot(index, EXPERTS).double()
        torch.testing.assert_close(average.at_index(index)[0], everything[:, number])
        torch.testing.assert_close(average.at_point(corner)[0], everything[:, number])


def test_a_set_that_is_not_asked_for_is_0_and_runs_nothing():
    mixture = counting_mixture()
    average = LogMean(mixture.observe(*data()), 2)
    index = torch.full((2, ROWS, 2), -1)
    index[0] = 3
    index[1, :, 0] = 1  # half a set is none
    values = average.at_index(index)
    assert (values[0] < 0).all()
    assert (values[1] == 0).all()
    assert [expert.rows for expert in mixture.experts.members] == [0, 0, 0, ROWS, 0]
    assert (average.evaluations() == 1).all()


# Every estimator


@pytest.mark.parametrize("case", LISTED_ESTIMATORS, ids=str)
def test_what_an_estimator_claims_holds_for_the_bound(case):
    """By enumeration of all sets of S = 2 draws, to 1e-10."""
    mixture, (x, y) = bank_mixture(experts=FEW), (part[:1] for part in data())
    objective = MultiSample(with_context(case), 2).double()
    right = derivatives(DEFINITIONS["multi-sample"](mixture.observe(x, y), objective).sum(), mixture, objective)
    found = expected(objective, mixture, x, y)
    claimed = objective.estimator.unbiased
    assert claimed >= {"value", "parameters"}
    torch.testing.assert_close(found[0], right[0], rtol=0, atol=1e-10)
    checked = [(found[2], right[2]), *([(found[1], right[1])] if "logits" in claimed else [])]
    for first, second in ((a, b) for mine, exact in checked for a, b in zip(mine, exact, strict=True)):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-10)


@pytest.mark.parametrize("case", ESTIMATOR_CASES, ids=str)
def test_it_runs_with_every_estimator(case):
    mixture, estimator = bank_mixture(torch.float32), with_context(case)
    objective = MultiSample(estimator, 3)
    estimate = objective(mixture.observe(*data(torch.float32)), generator=seeded(1))
    assert estimate.value.shape == (ROWS,)
    assert estimate.info.evaluations.max() <= objective.evaluations(EXPERTS)
    loss = -estimate.value.mean()
    if estimate.control_loss is not None:
        loss = loss + estimate.control_loss
    loss.backward()
    assert mixture.gate.weight.grad.norm() > 0
    for parameter in (*mixture.parameters(), *estimator.parameters()):
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("name", ["arsm", "rebar"])
def test_estimators_with_noise_of_their_own_are_unbiased_for_the_bound(name):
    """20 000 repetitions as one batch; the gate's gradient, of which a 20 % longer one would be found."""
    mixture, (x, y) = bank_mixture(experts=FEW), (part[:1] for part in data())
    logits = mixture.gate(x).detach().expand(20_000, -1).clone().requires_grad_()
    observed = mixture.observe(x.expand(20_000, -1), y.expand(20_000))
    observed.logits = logits
    value = MultiSample(name, 2).double()(observed, generator=seeded(5)).value
    (each,) = torch.autograd.grad(value.sum(), logits)
    exact = mixture.observe(x, y)
    exact.logits = logits[:1].detach().requires_grad_()
    (right,) = torch.autograd.grad(MultiSample("enumeration", 2)(exact).value.sum(), exact.logits)
    assert mean_p(each, right[0]) > ALPHA
    assert mean_p(each + 0.2 * right[0], right[0]) < ALPHA


def test_leave_one_out_compares_whole_sets():
    objective = MultiSample(ScoreFunction("leave-one-out"), 2)
    assert objective.repeats == 2
    assert objective.evaluations(8) == 4
    estimate = objective(bank_mixture().observe(*data()), generator=seeded(1))
    assert estimate.info.index.shape == (2, ROWS, 2)


# VIMCO


@pytest.mark.parametrize("mean", ["geometric", "arithmetic"])
@pytest.mark.parametrize(("draws", "repeats"), [(2, 1), (3, 1), (4, 1), (2, 2)])
def test_vimco_is_unbiased(mean, draws, repeats):
    mixture, (x, y) = bank_mixture(experts=FEW), (part[2:3] for part in data())
    objective = MultiSample(VIMCO(mean), draws, repeats)
    right = derivatives(DEFINITIONS["multi-sample"](mixture.observe(x, y), objective).sum(), mixture, objective)
    found = expected(objective, mixture, x, y)
    torch.testing.assert_close(found[0], right[0], rtol=0, atol=1e-10)
    for mine, exact in zip(found[1:3], right[1:3], strict=True):
        for first, second in zip(mine, exact, strict=True):
            torch.testing.assert_close(first, second, rtol=0, atol=1e-10)


@pytest.mark.parametrize("mean", ["geometric", "arithmetic"])
def test_vimco_replaces_each_weight_by_the_mean_of_the_others(mean):
    weights = torch.tensor([0.5, 0.2, 0.9]).double()
    found = VIMCO(mean).without(weights.log().unsqueeze(1)).squeeze(1)
    for i, without in enumerate(found.exp().tolist()):
        others = [w for j, w in enumerate(weights.tolist()) if j != i]
        replacement = math.prod(others) ** 0.5 if mean == "geometric" else sum(others) / 2
        assert without == pytest.approx(sum(others) + replacement, rel=1e-12)


def test_vimco_has_less_variance_than_the_score_function():
    """At equal draws; the baseline is what it is for. 4000 repetitions."""
    mixture, (x, y) = bank_mixture(), (part[:1] for part in data())
    spread = {}
    for estimator in (VIMCO(), ScoreFunction("none")):
        logits = mixture.gate(x).detach().expand(4000, -1).clone().requires_grad_()
        observed = mixture.observe(x.expand(4000, -1), y.expand(4000))
        observed.logits = logits
        value = MultiSample(estimator, 3)(observed, generator=seeded(6)).value
        spread[estimator.name] = torch.autograd.grad(value.sum(), logits)[0].var(0).sum()
    assert spread["vimco"] < 0.5 * spread["score-function"]


# Arguments


def test_the_default_draws_from_two_samples_on():
    assert MultiSample().estimator.name == "vimco"
    assert MultiSample(num_samples=1).estimator.name == "enumeration"
    assert isinstance(gw.objectives.get("multi-sample", estimator="vimco").estimator, VIMCO)
    assert MultiSample(num_samples=4).evaluations(8) == 4
    assert MultiSample(num_samples=40).evaluations(8) == 8
    assert MultiSample("gumbel-softmax", 2).evaluations(8) == 8


class OneChoice(gw.estimators.GradientEstimator):
    name, event_dims, calls = "one-choice", (0,), frozenset({"index"})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("vimco", 1), "'vimco' takes a number of samples from 2, got 1; a single sample makes the Jensen bound"),
        ((VIMCO(), 1), "use 'score-function'"),
        (("enumeration", 0), "num_samples must be a whole number of at least 1, got 0"),
        ((OneChoice(), 2), "takes one choice an example; for multi-sample use 'vimco'"),
        ((ScoreFunction("leave-one-out"), 2, 1), "takes a number of samples from 2, got 1"),
        (("vimko", 2), "unknown estimator 'vimko'"),
    ],
)
def test_what_cannot_work_is_refused_when_made(arguments, said):
    with pytest.raises(gw.GatewiseError) as error:
        MultiSample(*arguments)
    assert said in str(error.value)


@pytest.mark.parametrize("name", ["enumeration", "sum-and-sample", "unordered-set"])
def test_too_many_joint_outcomes_are_refused_with_what_works(name):
    objective = MultiSample(name, 5)
    objective.check_experts(5)
    for refused in (lambda: objective.check_experts(8), lambda: objective(bank_mixture(experts=8).observe(*data()))):
        with pytest.raises(gw.GatewiseError, match=r"all 8\*\*5 outcomes .* more than 4096; use vimco"):
            refused()


def test_vimco_serves_no_other():
    with pytest.raises(gw.GatewiseError, match="unknown estimator 'vimco'"):
        Jensen("vimco")
    with pytest.raises(gw.GatewiseError, match="'vimco' takes several latents, event_dims=1"):
        Jensen(VIMCO())(bank_mixture().observe(*data()))
    with pytest.raises(gw.GatewiseError, match="serves the objective multi-sample alone"):
        gw.expect(lambda point: point.sum((-1, -2)), torch.zeros(2, 3), VIMCO(), event_dims=1)
    with pytest.raises(gw.GatewiseError, match="unknown mean 'harmonic'; choose one of geometric, arithmetic"):
        VIMCO("harmonic")
    assert "vimco" not in gw.estimators.names()
