"""The marginal and its Jensen bound, with every registered estimator."""

import pytest
import torch
from torch import nn

import gatewise as gw
from gatewise.estimators import ScoreFunction
from gatewise.objectives import Jensen
from tests.chance import ALPHA, mean_p, seeded
from tests.estimators.cases import CASES
from tests.mixture.models import CLASSES, EXPERTS, FEATURES, ROWS, bank_mixture, counting_mixture, data


def with_context(case):
    """The case's estimator, with a baseline made for what the mixture's experts see."""
    options = dict(case.options)
    if "context_dim" in options:
        options["context_dim"] = FEATURES
    return gw.estimators.get(case.name, **options)


def gradients(mixture, value):
    return torch.autograd.grad(value.sum(), list(mixture.parameters()), materialize_grads=True)


# Marginal


def test_marginal_is_the_log_likelihood():
    mixture = bank_mixture()
    x, y = data()
    estimate = gw.objectives.get("marginal")(mixture.observe(x, y))
    expected = (mixture.gate_proba(x) * mixture.observe(x, y).at_all().exp()).sum(-1).log()
    torch.testing.assert_close(estimate.value, expected)
    assert (estimate.info.evaluations == EXPERTS).all()


def test_marginal_has_the_gradient_of_em():
    """Fisher's identity: the gradient of Σ_z r_z (ℓ_z + log π_z) with the posterior r held fixed."""
    mixture = bank_mixture()
    x, y = data()
    observed = mixture.observe(x, y)
    responsibility = mixture.posterior(x, y).detach()
    em = (responsibility * (observed.at_all() + observed.logits.log_softmax(-1))).sum()
    found = gradients(mixture, gw.objectives.get("marginal")(mixture.observe(x, y)).value)
    for first, second in zip(found, gradients(mixture, em), strict=True):
        assert second.norm() > 0
        torch.testing.assert_close(first, second)


# Jensen


def test_jensen_is_the_expected_log_likelihood():
    mixture = bank_mixture()
    x, y = data()
    observed = mixture.observe(x, y)
    expected = (mixture.gate_proba(x) * observed.at_all()).sum(-1)
    value = gw.objectives.get("jensen")(mixture.observe(x, y)).value
    torch.testing.assert_close(value, expected)
    for first, second in zip(gradients(mixture, value), gradients(mixture, expected), strict=True):
        torch.testing.assert_close(first, second)


def test_jensen_is_below_the_marginal_and_meets_it_where_the_gate_is_sure():
    x, y = data()
    mixture = bank_mixture()
    gap = mixture.log_prob(x, y) - Jensen()(mixture.observe(x, y)).value
    assert (gap > 1e-4).all()
    with torch.no_grad():
        mixture.gate.weight.zero_()
        mixture.gate.bias.copy_(torch.tensor([0.0, 500.0, 0.0, 0.0, 0.0]))
    torch.testing.assert_close(mixture.log_prob(x, y), Jensen()(mixture.observe(x, y)).value)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_jensen_runs_with_every_estimator(case):
    mixture = bank_mixture(torch.float32)
    estimator = with_context(case)
    objective = gw.objectives.get("jensen", estimator=estimator, num_samples=case.counts(4)[0])
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


@pytest.mark.parametrize("case", [c for c in CASES if c.make().calls == {"index"}], ids=str)
def test_jensen_runs_only_the_experts_drawn(case):
    mixture = counting_mixture()
    objective = Jensen(with_context(case), case.counts(2)[0])
    estimate = objective(mixture.observe(*data()), generator=seeded(1))
    ran = sum(expert.rows for expert in mixture.experts.members)
    assert ran == estimate.info.evaluations.sum()
    assert ran < EXPERTS * ROWS or case.name == "enumeration"


def test_jensen_by_draws_is_the_exact_bound_on_average():
    """100 000 repetitions as one batch; a gradient that is 6 % too long would be found, and is."""
    mixture = bank_mixture()
    x, y = (tensor[:1].expand(100_000, *tensor.shape[1:]) for tensor in data())
    gate_logits = mixture.gate(x).detach().requires_grad_()

    class Given(nn.Module):
        def forward(self, x):
            return gate_logits if len(x) > 1 else gate_logits[:1]

    fixed = gw.MixtureOfExperts(Given(), mixture.experts)
    estimate = Jensen(ScoreFunction("leave-one-out"), 2)(fixed.observe(x, y), generator=seeded(2))
    (each,) = torch.autograd.grad(estimate.value.sum(), gate_logits)
    exact = Jensen()(fixed.observe(x[:1], y[:1])).value
    (right,) = torch.autograd.grad(exact.sum(), gate_logits)
    assert mean_p(estimate.value.detach().unsqueeze(1), exact.detach()) > ALPHA
    assert mean_p(each, right[0]) > ALPHA
    assert mean_p(each + 0.06 * right[0], right[0]) < ALPHA


def test_jensen_reproduces_from_a_seed():
    mixture = bank_mixture()
    values = [Jensen("score-function", 2)(mixture.observe(*data()), generator=seeded(seed)).value for seed in (1, 1, 2)]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


def test_points_estimators_of_the_bound_are_linear():
    """The bound is linear in the point, so both forms of Gumbel-Softmax give the gate one gradient."""
    mixture = bank_mixture()
    found = []
    for name in ("gumbel-softmax", "straight-through-gumbel-softmax"):
        value = Jensen(name)(mixture.observe(*data()), generator=seeded(3)).value
        found.append(torch.autograd.grad(value.sum(), list(mixture.gate.parameters())))
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(first, second)


# Arguments


def test_sample_counts_are_refused_when_made():
    with pytest.raises(gw.GatewiseError, match="'score-function' takes a number of samples from 2, got 1"):
        Jensen(ScoreFunction("leave-one-out"), num_samples=1)
    with pytest.raises(gw.GatewiseError, match="takes a number of samples from 1, got 0"):
        gw.objectives.get("jensen", num_samples=0)


def test_unknown_names_are_told_the_nearest():
    with pytest.raises(gw.GatewiseError, match="unknown estimator 'enumeratoin'; did you mean 'enumeration'"):
        gw.objectives.get("jensen", estimator="enumeratoin")
    with pytest.raises(gw.GatewiseError, match="unknown objective 'jansen'; did you mean 'jensen'"):
        gw.objectives.get("jansen")


def test_evaluations_are_those_of_the_estimator():
    assert gw.objectives.get("marginal").evaluations(8) == 8
    assert Jensen().evaluations(8) == 8
    assert Jensen("score-function", 3).evaluations(8) == 3
    assert Jensen("score-function", 30).evaluations(8) == 8
    assert Jensen("gumbel-softmax").evaluations(8) == 8


# What a loop tells it


def test_progress_reaches_the_estimators():
    objective = Jensen(gw.estimators.get("gumbel-softmax", temperature="linear:1:0.5"))
    assert [type(e).__name__ for e in objective.estimators()] == ["GumbelSoftmax"]
    objective.set_progress(1.0)
    assert objective.estimator.temperature == 0.5
    gw.objectives.get("marginal").set_progress(0.5)


def test_held_statistics_wait_for_the_commit():
    objective, mixture = Jensen("score-function"), bank_mixture()
    baseline = objective.estimator.baseline
    objective.hold_statistics(True)
    objective(mixture.observe(*data())).value.sum().backward()
    assert baseline.weight == 0
    objective.commit()
    assert baseline.weight > 0
    objective.hold_statistics(False)
    before = baseline.weight.clone()
    objective(mixture.observe(*data())).value.sum().backward()
    assert baseline.weight > before


def test_learned_baselines_are_found_by_the_optimiser():
    objective = Jensen(ScoreFunction("learned", context_dim=FEATURES))
    assert len(list(objective.parameters())) == 5
    assert not list(Jensen("score-function").parameters())
    estimate = objective(bank_mixture(torch.float32).observe(*data(torch.float32)))
    estimate.control_loss.backward()
    assert all(p.grad is not None for p in objective.parameters())


@pytest.mark.parametrize("estimator", ["enumeration", "score-function"])
def test_a_few_steps_raise_the_bound(estimator):
    torch.manual_seed(0)
    mixture = bank_mixture(torch.float32)
    objective = Jensen(estimator, 2)
    x, y = data(torch.float32, rows=64)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    assert y.max() < CLASSES
    optimiser = torch.optim.Adam(mixture.parameters(), lr=0.05)
    before = mixture.log_prob(x, y).mean().item()
    for step in range(40):
        optimiser.zero_grad()
        (-objective(mixture.observe(x, y), generator=seeded(step)).value.mean()).backward()
        optimiser.step()
    assert mixture.log_prob(x, y).mean().item() > before + 0.3
