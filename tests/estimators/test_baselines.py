"""Baselines: what each learns, from what, and when."""

import math

import pytest
import torch

import gatewise as gw
from gatewise.estimators import Learned, LeaveOneOut, NoBaseline, RunningMean
from tests.chance import seeded
from tests.estimators.cases import LOGITS

TABLE = torch.tensor([10.0, 11.0, 12.0, 13.0, 14.0])


def batch_of(estimator, size, seed=1, num_samples=1, context=None, grad=True):
    """One call of `expect` on a table, and where there is one its gradient taken; the values drawn."""
    logits = LOGITS.float().expand(size, -1).clone().requires_grad_()
    with torch.set_grad_enabled(grad):
        estimate = gw.expect(
            gw.by_index(lambda index: TABLE[index]),
            logits,
            estimator,
            num_samples=num_samples,
            generator=seeded(seed),
            context=context,
        )
    if grad:
        torch.autograd.grad(estimate.value.sum(), logits, retain_graph=True)
    return estimate, TABLE[estimate.info.index], logits


def means(values):
    """One batch a row."""
    return [torch.tensor(row) for row in values]


# Running mean


def test_running_mean_starts_at_zero_and_is_then_corrected_for_it():
    baseline = RunningMean(decay=0.9)
    values = means([[2.0, 4.0], [6.0, 8.0]])
    assert baseline(values[0], None) == 0
    baseline.observe(values[0])
    baseline.commit()
    assert baseline(values[1], None).item() == pytest.approx(3.0)
    baseline.observe(values[1])
    baseline.commit()
    assert baseline(values[0], None).item() == pytest.approx((0.9 * 0.1 * 3 + 0.1 * 7) / (1 - 0.9**2))


@pytest.mark.parametrize("hold", [False, True])
@pytest.mark.parametrize("bad", [math.nan, -math.inf, 3e38])
def test_a_batch_that_is_not_finite_is_left_out_of_the_mean(bad, hold):
    """Or whose sum is not: otherwise every gradient after it would be NaN."""
    baseline = RunningMean(decay=0.9)
    for values in means([[2.0, 4.0], [bad, bad], [6.0, 8.0]]):
        baseline.update(values, hold)
        if hold:
            baseline.commit()
    assert baseline(values, None).item() == pytest.approx((0.9 * 0.1 * 3 + 0.1 * 7) / (1 - 0.9**2))


def test_running_mean_without_decay_is_the_last_batch():
    baseline = RunningMean(decay=0.0)
    for values in means([[2.0, 4.0], [6.0, 8.0]]):
        baseline.observe(values)
        baseline.commit()
    assert baseline(values, None).item() == pytest.approx(7.0)


def test_running_mean_of_a_constant_is_the_constant():
    baseline = RunningMean(decay=0.99)
    for _ in range(5):
        baseline.observe(torch.full((3, 4), -2.5))
        baseline.commit()
        assert baseline(torch.zeros(1), None).item() == pytest.approx(-2.5, rel=1e-6)


@pytest.mark.parametrize("decay", [-0.1, 1.0, 1.5, float("nan")])
def test_running_mean_refuses_a_decay_outside_its_range(decay):
    with pytest.raises(gw.GatewiseError, match=r"\[0, 1\)"):
        gw.estimators.get("score-function", decay=decay)


@pytest.mark.parametrize("name", ["score-function", "selected-relaxation"])
def test_running_mean_observes_in_training_with_gradients_alone(name):
    estimator = gw.estimators.get(name, baseline="running-mean")

    def seen():
        return estimator.baseline.weight.item()

    batch_of(estimator, 8, grad=False)
    assert seen() == 0
    batch_of(estimator.eval(), 8)
    assert seen() == 0
    _, values, _ = batch_of(estimator.train(), 8)
    assert seen() == pytest.approx(0.1)
    assert estimator.baseline(values, None).item() == pytest.approx(values.mean().item())


def test_a_batch_is_not_measured_against_itself():
    """The first batch sees b = 0, so its gradient is that without a baseline."""
    gradients = []
    for kind in ("running-mean", "none"):
        estimate, _, logits = batch_of(gw.estimators.get("score-function", baseline=kind), 8)
        gradients.append(torch.autograd.grad(estimate.value.sum(), logits)[0])
    assert torch.equal(*gradients)


def test_micro_batches_held_and_committed_equal_the_whole_batch():
    whole, parts = (gw.estimators.get("score-function", baseline="running-mean") for _ in range(2))
    for seed in (1, 2):
        parts.hold_statistics = True
        pieces = [batch_of(parts, size, seed=10 * seed + size)[1] for size in (6, 10)]
        parts.commit()
        whole.baseline.observe(torch.cat(pieces, dim=1))
        whole.commit()
        torch.testing.assert_close(parts.baseline.state_dict(), whole.baseline.state_dict())


def test_while_held_the_baseline_stands_still():
    estimator = gw.estimators.get("score-function", baseline="running-mean")
    batch_of(estimator, 8)
    before = estimator.baseline(TABLE, None)
    estimator.hold_statistics = True
    batch_of(estimator, 8, seed=2)
    assert torch.equal(estimator.baseline(TABLE, None), before)
    estimator.commit()
    assert not torch.equal(estimator.baseline(TABLE, None), before)


def test_a_commit_of_nothing_changes_nothing():
    estimator = gw.estimators.get("score-function", baseline="running-mean")
    batch_of(estimator, 8)
    before = {name: tensor.clone() for name, tensor in estimator.state_dict().items()}
    estimator.commit()
    torch.testing.assert_close(estimator.state_dict(), before)


# Leave one out


def test_leave_one_out_is_the_mean_of_the_others():
    values = torch.tensor([[1.0, 5.0], [2.0, 5.0], [6.0, 8.0]])
    expected = torch.tensor([[4.0, 6.5], [3.5, 6.5], [1.5, 5.0]])
    torch.testing.assert_close(LeaveOneOut()(values, None), expected)


@pytest.mark.parametrize("name", ["score-function", "selected-relaxation"])
def test_leave_one_out_needs_two(name):
    estimator = gw.estimators.get(name, baseline="leave-one-out")
    assert estimator.sample_counts.start == 2
    with pytest.raises(gw.GatewiseError, match="samples from 2, got 1"):
        batch_of(estimator, 4)


# Learned


def trained(baseline, of_context, rate, steps=300):
    """A baseline trained by the control loss of `score-function` on f = z + a function of the context."""
    estimator = gw.estimators.get("score-function", baseline=baseline)
    optimiser = torch.optim.Adam(estimator.parameters(), lr=rate)
    context = torch.randn(256, 2, generator=seeded(0))
    shift = of_context(context)
    for step in range(steps):
        estimate = gw.expect(
            gw.by_index(lambda index: TABLE[index] + shift),
            LOGITS.float().expand(256, -1),
            estimator,
            generator=seeded(step),
            context=context,
        )
        optimiser.zero_grad()
        estimate.control_loss.backward()
        optimiser.step()
    return baseline(torch.zeros(1, 256), context).detach(), shift + LOGITS.float().softmax(0) @ TABLE


def test_learned_number_tends_to_the_expectation():
    found, right = trained(Learned(), lambda context: 0 * context[:, 0], rate=0.2)
    assert found.shape == ()
    assert found.item() == pytest.approx(right[0].item(), abs=0.15)


def test_learned_network_tends_to_the_expectation_of_each_example():
    found, right = trained(Learned(context_dim=2), lambda context: 4 * context[:, 0].abs(), rate=0.02)
    assert right.std() > 2
    assert (found - right).square().mean().sqrt() < 0.6


def test_control_loss_is_the_mean_squared_error():
    baseline = Learned()
    with torch.no_grad():
        baseline.constant.fill_(1.0)
    values = torch.tensor([[2.0, 4.0], [0.0, 1.0]])
    assert baseline.loss(values, baseline(values, None)).item() == pytest.approx((1 + 9 + 1 + 0) / 4)


@pytest.mark.parametrize("context", [None, torch.zeros(4, 7)], ids=["none", "7 features"])
def test_learned_says_which_context_it_was_made_for(context):
    estimator = gw.estimators.get("score-function", baseline="learned", context_dim=3)
    with pytest.raises(gw.GatewiseError, match=r"context of 3 features and got (none|7 features).*context=x"):
        batch_of(estimator, 4, context=context)


def test_learned_does_not_reach_into_the_context():
    estimator = gw.estimators.get("score-function", baseline="learned", context_dim=3)
    context = torch.ones(4, 3, requires_grad=True)
    estimate, _, _ = batch_of(estimator, 4, context=context)
    (estimate.value.sum() + estimate.control_loss).backward()
    assert context.grad is None


# All


@pytest.mark.parametrize(
    ("baseline", "at_most"),
    [("none", 1.0), ("running-mean", 0.05), ("learned", 0.05), ("leave-one-out", 0.05)],
)
def test_a_baseline_reduces_the_variance(baseline, at_most):
    """f lies between 10 and 14: without a baseline nearly all of the variance is that of a constant."""

    def spread(kind):
        estimator = gw.estimators.get("score-function", baseline=kind, decay=0.5)
        for seed in range(3):
            estimate, _, logits = batch_of(estimator, 2000, seed=seed, num_samples=2)
        return torch.autograd.grad(estimate.value.sum(), logits)[0].var(0).sum().item()

    assert spread(baseline) <= at_most * spread("none")


def test_the_names_are_four_and_a_baseline_is_taken_as_it_is():
    own = NoBaseline()
    assert gw.estimators.get("score-function", baseline=own).baseline is own
    with pytest.raises(gw.GatewiseError, match="did you mean 'running-mean'"):
        gw.estimators.get("score-function", baseline="runing-mean")
    with pytest.raises(gw.GatewiseError, match="none, running-mean, leave-one-out, learned"):
        gw.estimators.get("score-function", baseline="zzz")
