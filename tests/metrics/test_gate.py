"""Statistics of the gate: sums over micro-batches and processes are those of all the rows."""

import pytest
import torch

from gatewise.metrics.gate import GateStatistics
from tests.chance import seeded

K, CPU = 4, torch.device("cpu")


def logits(rows=40):
    drawn = 2 * torch.randn(rows, K, generator=seeded(1))
    return drawn.masked_fill(drawn < drawn.topk(2).values[:, 1:], -torch.inf)


def gathered(*parts, selected=False):
    statistics = GateStatistics(K, CPU, selected)
    for part in parts:
        statistics.update(part)
    return statistics


def test_written_out():
    rows = logits()
    found, probs = gathered(*rows.chunk(3), selected=True), rows.softmax(-1)
    assert found.rows == 40
    torch.testing.assert_close(found.argmax, torch.bincount(rows.argmax(-1), minlength=K).double())
    torch.testing.assert_close(found.load, (probs > 0).sum(0).double())
    assert found.load.sum() == 80
    metrics = found.metrics()
    row_entropy = torch.distributions.Categorical(probs).entropy().mean()
    mean_entropy = torch.distributions.Categorical(probs.mean(0)).entropy()
    assert metrics["train_gate_entropy"] == pytest.approx(row_entropy.item(), rel=1e-5)
    assert metrics["train_mutual_information"] == pytest.approx((mean_entropy - row_entropy).item(), rel=1e-5)
    assert metrics["train_effective_experts"] == pytest.approx(mean_entropy.exp().item(), rel=1e-5)


def test_the_load_is_of_the_argmax_where_nothing_is_selected():
    found = gathered(logits())
    assert torch.equal(found.load, found.argmax)
    assert found.load.sum() == 40


@pytest.mark.parametrize("selected", [False, True])
def test_two_processes_make_one_whole(selected):
    """One reduction of one tensor, rows among it; the halves differ in size."""
    rows = logits()
    halves = [gathered(part, selected=selected) for part in (rows[:15], rows[15:])]
    sent = []
    for half in halves:
        half.reduce(lambda tensor: sent.append(tensor.clone()) or tensor)
    whole = gathered(rows, selected=selected)
    for half in halves:
        half.reduce(lambda _: sent[0] + sent[1])
        assert half.rows == 40
        torch.testing.assert_close(half.load, whole.load)
        assert half.metrics() == pytest.approx(whole.metrics(), rel=1e-5)
    assert len(sent) == 2
    halves[0].update(rows)  # what is gathered after a reduction goes on top
    assert halves[0].rows == 80
    assert halves[0].load.sum() == 2 * whole.load.sum()


def test_rows_are_counted_beyond_what_float32_counts():
    found, half = gathered(), gathered(torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(2**12, K))
    for _ in range(13):
        half.add(half)
    found.add(half)
    found.update(torch.tensor([[1.0, 0.0, 0.0, 0.0]]))
    assert found.rows == 2**25 + 1
    assert found.argmax[0] == 2**25 + 1
