"""What every estimator promises, checked over the registry: a new estimator is tested by being registered."""

import inspect

import pytest
import torch

import gatewise as gw
from gatewise.estimators import GradientEstimator
from gatewise.schedules import Constant
from gatewise.testing import CHECKS
from tests.estimators.cases import CASES, JOINT_DRAWS, LOGITS, VARIANTS, Case

every_case = pytest.mark.parametrize("case", CASES, ids=str)


@every_case
@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_contract(check, case: Case):
    subject = case.subject()
    if not check.applies(subject):
        pytest.skip(f"{check} is for {check.only}")
    check(subject)


@pytest.mark.parametrize("check", [check for check in CHECKS if check.only != "machines with CUDA"], ids=str)
def test_every_check_applies_to_some(check):
    assert any(check.applies(case.subject()) for case in CASES)


@every_case
def test_unbiasedness_is_tested_by_enumeration_or_by_means_and_in_no_third_way(case):
    checks = {str(check): check.applies(case.subject()) for check in CHECKS}
    assert checks["expectation_is_exact"] != checks["means_are_as_claimed"]


def test_the_tables_name_registered_estimators_alone():
    assert {case.name for case in CASES} == set(gw.estimators.names())
    assert (set(VARIANTS) | set(JOINT_DRAWS)) <= set(gw.estimators.names())


@every_case
def test_it_is_known_by_its_name(case: Case):
    assert case.make().name == case.name


@every_case
def test_the_docstring_is_its_own_and_names_its_options(case: Case):
    docstring = inspect.getdoc(type(case.make()))
    assert docstring != inspect.getdoc(GradientEstimator)
    assert len(docstring.split()) > 20
    for option in gw.estimators.options(case.name):
        assert f"{option}:" in docstring


# Temperatures


FIRST = {case.name: case for case in reversed(CASES)}
TEMPERED = [case for name, case in FIRST.items() if "temperature" in gw.estimators.options(name)]


def tempered(case, temperature):
    return gw.estimators.get(case.name, **case.options, temperature=temperature)


@pytest.mark.parametrize("case", TEMPERED, ids=str)
def test_a_temperature_follows_its_schedule_and_changes_the_estimate(case):
    estimator, subject = tempered(case, "linear:2:0.5"), case.subject()
    gradients = []
    for progress, temperature in ((0.0, 2.0), (1.0, 0.5)):
        estimator.set_progress(progress)
        assert estimator.temperature == temperature
        gradients.append(subject.run((64,), estimator=estimator).gradients()[0])
    assert not torch.allclose(*gradients)
    assert "2" in repr(estimator)
    assert tempered(case, Constant(0.25)).temperature == 0.25


@pytest.mark.parametrize("case", TEMPERED, ids=str)
@pytest.mark.parametrize("temperature", [0.0, -1.0, "linear:1:0", "cosine:0:1", "step:1:0:1", 9e-5, "linear:1:1.1e4"])
def test_a_temperature_that_is_or_will_be_outside_of_the_range_is_refused_at_once(case, temperature):
    with pytest.raises(gw.GatewiseError, match=rf"{case.name}.*must (be positive|lie between 0\.0001 and 10000), got"):
        tempered(case, temperature)


@pytest.mark.parametrize("case", TEMPERED, ids=str)
@pytest.mark.parametrize("temperature", [float("nan"), float("inf"), "nan", "warm"])
def test_a_temperature_that_is_no_number_is_refused(case, temperature):
    with pytest.raises(gw.GatewiseError, match="is not a schedule"):
        tempered(case, temperature)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@every_case
def test_a_gradient_by_torch_func_is_that_of_backward(case):
    """Also for those that take an inner derivative of f; those that take two refuse in a sentence."""
    estimator, count, theta = case.make().eval(), case.counts(4)[-1], torch.arange(5.0, dtype=torch.float64)
    logits, context = LOGITS.expand(3, -1), torch.ones(3, 3)

    def value(logits):
        torch.manual_seed(5)
        f = lambda point: (point @ theta).square()  # noqa: E731
        return gw.expect(f, logits, estimator, count, context=context).value.sum()

    if case.name in ("rebar", "relax"):
        with pytest.raises(gw.GatewiseError, match=r"derivatives of derivatives .* torch\.func"):
            torch.func.grad(value)(logits)
        return
    leaf = logits.clone().requires_grad_()
    torch.testing.assert_close(torch.func.grad(value)(logits), torch.autograd.grad(value(leaf), leaf)[0])
