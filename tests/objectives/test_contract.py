"""What every registered objective keeps. By enumeration where all that it draws can be listed."""

import pytest
import torch

import gatewise as gw
from gatewise.objectives import Objective
from gatewise.testing.checks.repetition import FORMS
from tests.chance import ALPHA, mean_p, seeded
from tests.mixture.models import CLASSES, EXPERTS, ROWS, bank_mixture, counting_mixture, data, list_mixture

from .cases import CASES, DEFINITIONS, derivatives, drawer, expected, masked_mixture

every_case = pytest.mark.parametrize("case", CASES, ids=str)


def gradients(value, *parts):
    parameters = [parameter for part in parts for parameter in part.parameters()]
    return torch.autograd.grad(value.sum(), parameters, materialize_grads=True)


def test_every_objective_has_a_definition():
    assert sorted(DEFINITIONS) == gw.objectives.names()


@every_case
def test_facts_and_shapes(case):
    objective = case.make()
    assert isinstance(objective, Objective)
    assert objective.name == case.name
    assert len(objective.reference) > 8
    mixture = bank_mixture()
    estimate = objective(mixture.observe(*data()), generator=seeded(1))
    assert estimate.value.shape == (ROWS,)
    assert estimate.info.evaluations.shape == (ROWS,)
    assert estimate.info.evaluations.min() >= 1
    assert estimate.info.evaluations.max() <= objective.evaluations(EXPERTS) <= EXPERTS
    assert all(g.isfinite().all() for g in gradients(estimate.value, mixture, objective))


@every_case
def test_under_no_grad_the_value_is_alone(case):
    with torch.no_grad():
        estimate = case.make()(bank_mixture().observe(*data()))
    assert not estimate.value.requires_grad
    assert estimate.control_loss is None


@every_case
@pytest.mark.parametrize("masked", [[], [1, 4]], ids=["all", "masked"])
def test_value_and_gradients_are_those_of_the_definition(case, masked):
    """To 1e-10, for gate, experts and the objective's own parameters; at two rows, whose likely experts differ."""
    mixture, objective = masked_mixture(masked), case.make()
    objective.set_progress(0.5)
    definition = DEFINITIONS[case.name]
    for row in (0, 3):
        x, y = (part[row : row + 1] for part in data())
        right = derivatives(definition(mixture.observe(x, y), objective).sum(), mixture, objective)
        found = expected(objective, mixture, x, y)
        torch.testing.assert_close(found[0], right[0], rtol=0, atol=1e-10)
        for mine, exact in zip(found[1:], right[1:], strict=True):
            for first, second in zip(mine, exact, strict=True):
                torch.testing.assert_close(first, second, rtol=0, atol=1e-10)
        assert sum(part.norm() for part in right[2]) > 1e-3
        objective = case.make()  # what draws was fixed to the outcomes of this row
        objective.set_progress(0.5)


@every_case
def test_the_expected_value_is_at_most_the_marginal(case):
    mixture, (x, y) = bank_mixture(), data()
    for row in range(ROWS):
        one = x[row : row + 1], y[row : row + 1]
        assert expected(case.make(), mixture, *one)[0] <= mixture.log_prob(*one) + 1e-12


@every_case
def test_draws_have_the_mean_of_the_definition(case):
    """20 000 repetitions as one batch."""
    mixture, (x, y) = bank_mixture(), data()
    many = mixture.observe(x[:1].expand(20_000, -1), y[:1].expand(20_000))
    objective = case.make()
    with torch.no_grad():
        values = objective(many, generator=seeded(4)).value
        right = DEFINITIONS[case.name](mixture.observe(x[:1], y[:1]), objective)
    assert mean_p(values.unsqueeze(1), right) > ALPHA


@every_case
def test_extreme_logits_and_likelihoods_are_finite(case):
    """Gates and experts at 1e4: each sure of something, and the gate sure of the wrong one."""
    mixture, objective = bank_mixture(hidden=()), case.make()
    with torch.no_grad():
        mixture.gate.weight.mul_(1e4)
        for weight in mixture.experts.weights:
            weight.mul_(1e4)
    for progress in (0.0, 1.0):
        objective.set_progress(progress)
        estimate = objective(mixture.observe(*data()), generator=seeded(2))
        assert estimate.value.isfinite().all()
        assert all(g.isfinite().all() for g in gradients(estimate.value, mixture, objective))


@every_case
@pytest.mark.parametrize("masked", [[0], [0, 1, 2, 3], [1, 2, 3, 4]], ids=str)
def test_masked_experts_are_not_run_and_leave_everything_finite(case, masked):
    mixture, objective = masked_mixture(masked), case.make()
    estimate = objective(mixture.observe(*data()), generator=seeded(2))
    assert estimate.value.isfinite().all()
    assert all(g.isfinite().all() for g in gradients(estimate.value, mixture, objective))
    if estimate.info.index is not None:
        for expert in masked:
            assert not (estimate.info.index == expert).any()


@every_case
def test_one_expert_is_the_log_likelihood(case):
    mixture, objective = bank_mixture(experts=1), case.make(num_experts=1)
    estimate = objective(mixture.observe(*data()), generator=seeded(2))
    torch.testing.assert_close(estimate.value, mixture.log_prob(*data()))
    assert (estimate.info.evaluations == 1).all()
    for found, right in zip(
        gradients(estimate.value, mixture), gradients(mixture.log_prob(*data()), mixture), strict=True
    ):
        torch.testing.assert_close(found, right, rtol=0, atol=1e-10)


@every_case
@pytest.mark.parametrize("way", ["segments", "padded", "loop", "list"])
def test_no_rows(case, way):
    """The empty value, gradients of 0 for every parameter, and no move of the state."""
    mixture, objective = bank_mixture(dropout=0.3), case.make()
    mixture = list_mixture(mixture) if way == "list" else mixture
    mixture.experts.strategy = way
    estimate = objective(mixture.observe(*(part[:0] for part in data())))
    assert (estimate.value.shape, estimate.info.evaluations.shape) == ((0,), (0,))
    (estimate.value.sum() + (0 if estimate.control_loss is None else estimate.control_loss)).backward()
    assert all(parameter.grad.eq(0).all() for parameter in mixture.parameters())
    assert all(p.grad is None or p.grad.eq(0).all() for p in objective.parameters())
    assert all(buffer.eq(0).all() for buffer in objective.buffers())


@every_case
def test_a_batch_of_one(case):
    mixture, objective = bank_mixture(), case.make()
    estimate = objective(mixture.observe(*data(rows=1)), generator=seeded(2))
    assert estimate.value.shape == (1,)
    assert all(g.isfinite().all() for g in gradients(estimate.value, mixture, objective))


@every_case
def test_it_reproduces_from_a_seed(case):
    mixture = bank_mixture()
    values = [case.make()(mixture.observe(*data()), generator=seeded(seed)).value for seed in (1, 1)]
    assert torch.equal(*values)


@pytest.mark.parametrize(
    "case", [case for case in CASES if drawer(case.make()) is not None and case.make().evaluations(50) < 50], ids=str
)
def test_only_the_experts_drawn_are_run_and_each_pair_once(case):
    mixture = counting_mixture(experts=50)
    objective = case.make(num_experts=50)
    estimate = objective(mixture.observe(*data()), generator=seeded(1))
    ran = sum(expert.rows for expert in mixture.experts.members)
    assert ran == estimate.info.evaluations.sum()
    assert ran <= ROWS * objective.evaluations(50)
    for expert in mixture.experts.members:
        seen = torch.cat([torch.zeros(0, 4, dtype=torch.float64), *expert.seen])
        assert len(seen.unique(dim=0)) == len(seen)


def steps(case, form, outside=False):
    """Losses and gradients of three steps, and the state they leave; the rows may be observed before the region."""
    mixture, objective, found = bank_mixture(dropout=0.3), case.make(), []
    parts = [*mixture.parameters(), *objective.parameters()]
    for step in range(3):
        x, y = data()
        given = mixture.observe(x, y) if outside else None

        def loss(x, y=y, given=given):
            estimate = objective(mixture.observe(x, y) if given is None else given)
            return -estimate.value.mean() + (0 if estimate.control_loss is None else estimate.control_loss)

        torch.manual_seed(step)
        found.append(form(loss, x.requires_grad_()))
        found[-1].backward()
        found += [torch.zeros_like(part) if part.grad is None else part.grad.clone() for part in [*parts, x]]
    return [each.detach() for each in found] + list(objective.buffers())


@every_case
def test_what_a_checkpoint_repeats_changes_nothing(case):
    plain = FORMS["a plain call"]
    right = steps(case, plain)
    for name, form in FORMS.items():
        for found, wanted in zip(steps(case, form), right, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12, msg=name)
    repeated = steps(case, FORMS["checkpoint(use_reentrant=False)"], outside=True)
    for found, wanted in zip(repeated, steps(case, plain, outside=True), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@every_case
def test_in_float32_it_is_what_it_is_in_float64(case):
    values = []
    for dtype in (torch.float32, torch.float64):
        mixture, objective = bank_mixture(dtype), case.make(dtype=dtype)
        estimate = objective(mixture.observe(*data(dtype)), generator=seeded(3))
        assert estimate.value.dtype == dtype
        values.append(estimate.value.double())
        assert all(g.isfinite().all() for g in gradients(estimate.value, mixture, objective))
    if drawer(case.make()) is None:
        torch.testing.assert_close(*values, rtol=1e-4, atol=1e-5)


@every_case
def test_a_few_steps_raise_the_likelihood(case):
    torch.manual_seed(0)
    mixture, objective = bank_mixture(torch.float32), case.make(dtype=torch.float32)
    x, _ = data(torch.float32, rows=64)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    assert y.max() < CLASSES
    optimiser = torch.optim.Adam([*mixture.parameters(), *objective.parameters()], lr=0.05)
    before = mixture.log_prob(x, y).mean().item()
    for step in range(40):
        objective.set_progress(step / 40)
        optimiser.zero_grad()
        (-objective(mixture.observe(x, y), generator=seeded(step)).value.mean()).backward()
        optimiser.step()
    assert mixture.log_prob(x, y).mean().item() > before + 0.3
