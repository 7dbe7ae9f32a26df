import pytest
import torch

import gatewise as gw
from gatewise import GatewiseError
from gatewise.config import LoopConfig
from gatewise.metrics.gate import GateStatistics
from gatewise.mixture import Sparsemax
from gatewise.training import fit
from gatewise.training.collapse.warm_start import SMOOTHING, WarmStart, clusters, warm_start
from gatewise.training.step import TrainStep
from tests.mixture.models import EXPERTS, bank_mixture, counting_mixture, data
from tests.training.test_loop import blobs, small

ASSIGNMENT = torch.arange(7) % EXPERTS


def test_the_objective_and_its_gradient():
    """log p(y, z=a|x) from the full table, in float64."""
    mixture, (x, y) = bank_mixture(), data()
    warm = WarmStart(ASSIGNMENT, 1)
    value = warm(mixture.observe(x, y), ASSIGNMENT).value
    gate, experts = mixture.expert_log_probs(x)
    rows = torch.arange(len(x))
    wanted = experts[rows, ASSIGNMENT, y]
    wanted = wanted + (1 - SMOOTHING) * gate[rows, ASSIGNMENT] + SMOOTHING * gate.mean(-1)
    torch.testing.assert_close(value, wanted, rtol=1e-13, atol=1e-13)
    parameters = list(mixture.parameters())
    got, ref = (torch.autograd.grad(v.sum(), parameters) for v in (value, wanted))
    for a, b in zip(got, ref, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


def test_the_gates_optimum_is_finite():
    """Its target is smoothed: at the optimum π_a = 1 - s + s/K, and the gradient is 0 there."""
    target = torch.full((EXPERTS,), SMOOTHING / EXPERTS, dtype=torch.float64)
    target[1] += 1 - SMOOTHING
    mixture, (x, y) = bank_mixture(), data()
    with torch.no_grad():
        mixture.gate.weight.zero_()
        mixture.gate.bias.copy_(target.log())
    WarmStart(ASSIGNMENT, 1)(mixture.observe(x, y), torch.ones_like(ASSIGNMENT)).value.sum().backward()
    torch.testing.assert_close(mixture.gate.bias.grad, torch.zeros(EXPERTS).double(), rtol=0, atol=1e-12)


def test_only_the_assigned_expert_runs():
    mixture, (x, y) = counting_mixture(), data()
    WarmStart(ASSIGNMENT, 1)(mixture.observe(x, y), ASSIGNMENT)
    assert sum(member.rows for member in mixture.experts.members) == len(x)


def test_micro_batches_keep_their_assignment():
    x, y = blobs(64)
    assignment = torch.arange(64) % 3
    whole, parts = small(), small()
    for mixture, accumulate in ((whole, 1), (parts, 4)):
        train_step = TrainStep(mixture, gw.objectives.get("jensen"), [], LoopConfig(accumulate=accumulate, clip=0), 1)
        train_step.warm_start = WarmStart(assignment, 1)
        train_step.take_step(x, y, GateStatistics(3, torch.device("cpu")), assignment)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_rows_carry_their_assignment_through_the_shuffle():
    x = torch.arange(10.0)[:, None]
    train_step = TrainStep(small(), gw.objectives.get("jensen"), [], LoopConfig(), 1)
    for rows, y, assigned in train_step.batches(x, torch.arange(10), torch.arange(10) * 2, batch_size=4):
        assert torch.equal(rows[:, 0].long(), y)
        assert torch.equal(assigned, 2 * y)


def test_clusters_are_found_again():
    """Three far clusters: each gets one number; the same seed gives the same numbers."""
    x, y = blobs()
    found = clusters(4 * x, 3, seed=5)
    assert torch.equal(found, clusters(4 * x, 3, seed=5))
    agreement = torch.stack([torch.bincount(found[y == k], minlength=3) for k in range(3)])
    assert agreement.amax(1).sum() >= 0.97 * len(x)
    assert agreement.argmax(1).unique().numel() == 3


def started(seed=0, **options):
    mixture, assignment = small(seed), options.pop("assignment", None)
    config = LoopConfig(**{"epochs": 4, "lr": 0.03, "lr_schedule": "constant", **options})
    result = fit(mixture, gw.objectives.get("marginal"), blobs(), blobs(100, 1), config, assignment=assignment)
    return mixture, result


def test_the_gate_is_taught_the_assignment():
    """Experts that could all do the work: after the warm start the gate tells the classes apart as it was told."""
    x, y = blobs()
    mixture, result = started(assignment=(y + 1) % 3, warm_start_epochs=3)
    assert (mixture.gate_proba(x).argmax(-1) == (y + 1) % 3).float().mean() > 0.95
    assert result.history[0]["train_objective"] < result.history[-1]["train_objective"]


def test_a_warm_start_is_repeatable_and_then_the_objective_takes_over():
    (first, result), (second, _) = started(warm_start="kmeans"), started(warm_start="kmeans")
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    cold, _ = started()
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), cold.parameters(), strict=True))
    assert min(h["validation_nll"] for h in result.history) < 0.3


def test_patience_counts_from_the_end_of_the_warm_start():
    _, result = started(epochs=12, warm_start="kmeans", warm_start_epochs=6, patience=2, lr=1e-9)
    assert len(result.history) >= 8


def test_an_assignment_of_rows_that_are_streamed_is_refused():
    x, y = blobs()
    with pytest.raises(GatewiseError, match="keeps the expert of every training row, and streamed rows are not kept"):
        warm_start(LoopConfig(), small(), x, 20, y, seed=1, streamed=True)


def test_what_cannot_be_is_refused():
    x, y = blobs()
    sparse = small()
    sparse.gate = torch.nn.Sequential(sparse.gate, Sparsemax())
    for said, call in {
        "leaves none for the objective": lambda: started(warm_start="kmeans", epochs=1),
        "not both": lambda: started(warm_start="kmeans", assignment=y),
        "integers from 0 to 2": lambda: started(assignment=y + 1),
        r"of shape \[400\]": lambda: started(assignment=y[:-1]),
        "sparse gate": lambda: warm_start(LoopConfig(warm_start="kmeans"), sparse, x, 9, None, 0),
        "a row for each of the 3": lambda: clusters(x[:2], 3, 0),
    }.items():
        with pytest.raises(GatewiseError, match=said):
            call()
