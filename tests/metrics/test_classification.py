import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, brier_score_loss, confusion_matrix, log_loss

from gatewise import GatewiseError, MixtureOfExperts, MLPBank
from gatewise.metrics import BINS, Tally, evaluate
from gatewise.metrics.classification import GAPS
from gatewise.mixture import mlp


@pytest.fixture
def scene():
    torch.manual_seed(3)
    mixture = MixtureOfExperts(mlp(5, [8], 4), MLPBank(4, 5, [6], 3)).double()
    with torch.no_grad():
        for parameter in mixture.parameters():
            parameter.mul_(2)
    return mixture, torch.randn(301, 5, dtype=torch.float64), torch.randint(0, 3, (301,))


def test_figures_agree_with_scikit_learn_and_with_the_definitions(scene):
    mixture, x, y = scene
    figures = evaluate(mixture, x, y, 3, batch_size=64).result()
    probs = mixture.predict_proba(x).numpy()
    labels = y.numpy()
    top1 = mixture.predict_proba(x, "top1").numpy()
    assert figures.nll == pytest.approx(log_loss(labels, probs))
    assert figures.nll_top1 == pytest.approx(log_loss(labels, top1))
    assert figures.accuracy == pytest.approx(accuracy_score(labels, probs.argmax(1)))
    assert figures.accuracy_top1 == pytest.approx(accuracy_score(labels, top1.argmax(1)))
    assert figures.brier == pytest.approx(
        sum(brier_score_loss(labels == c, probs[:, c]) for c in range(probs.shape[1]))
    )
    log_gate, log_experts = mixture.expert_log_probs(x)
    gate = log_gate.exp()
    likelihoods = log_experts[torch.arange(len(y)), :, y]
    assert figures.jensen == pytest.approx((gate * likelihoods).sum(-1).mean().item())
    assert figures.bound_gap == pytest.approx(-figures.nll - figures.jensen)
    assert figures.bound_gap > 0.01
    mean = gate.mean(0)
    entropy = -(gate * log_gate).sum(-1).mean()
    assert figures.gate_entropy == pytest.approx(entropy.item())
    assert figures.mutual_information == pytest.approx((-(mean * mean.log()).sum() - entropy).item())
    assert figures.effective_experts == pytest.approx((-(mean * mean.log()).sum()).exp().item())
    assert figures.rows == 301


def test_expected_calibration_error_by_hand(scene):
    mixture, x, y = scene
    probs = mixture.predict_proba(x)
    confidence, predicted = probs.max(-1)
    right = (predicted == y).double()
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    by_hand = sum(
        (bins == b).double().mean() * ((confidence - right)[bins == b].mean()).abs()
        for b in range(BINS)
        if (bins == b).any()
    )
    assert evaluate(mixture, x, y, 3).result().ece == pytest.approx(by_hand.item())


def test_details(scene):
    mixture, x, y = scene
    details = evaluate(mixture, x, y, 3, batch_size=100).details()
    gate = mixture.gate_proba(x)
    np.testing.assert_array_equal(details.confusion, confusion_matrix(y, mixture(x).argmax(-1), labels=[0, 1, 2]))
    np.testing.assert_allclose(details.gate_by_class[1], gate[y == 1].mean(0).tolist())
    np.testing.assert_allclose(details.mean_gate, gate.mean(0).tolist())
    assert sum(details.expert_share) == pytest.approx(1)
    assert sum(details.reliability["count"]) == 301


def test_the_bound_gap_of_single_rows_by_hand(scene):
    mixture, x, y = scene
    log_gate, log_experts = mixture.expert_log_probs(x)
    likelihoods = log_experts[torch.arange(len(y)), :, y]
    gap = (log_gate + likelihoods).logsumexp(-1) - (log_gate.exp() * likelihoods).sum(-1)
    tally = evaluate(mixture, x, y, 3, batch_size=100)
    found = tally.details().bound_gap
    edges = [-np.inf, *GAPS, np.inf]
    assert found["edges"] == list(GAPS)
    assert found["count"] == np.histogram(gap.detach(), edges)[0].tolist()
    np.testing.assert_allclose(found["total"], np.histogram(gap.detach(), edges, weights=gap.detach())[0])
    assert sum(found["total"]) / 301 == pytest.approx(tally.result().bound_gap)
    assert np.count_nonzero(found["count"]) > 3


def test_a_bound_that_is_infinitely_loose_is_counted_and_not_summed():
    tally = Tally(num_experts=2, num_classes=2)
    log_experts = torch.tensor([[0.5, 0.5], [0.0, 1.0]]).log().expand(3, 2, 2)
    tally.update(torch.zeros(3, 2).log_softmax(-1), log_experts, torch.tensor([0, 1, 1]))
    found = tally.details().bound_gap
    assert sum(found["count"]) == 3
    assert (found["count"][-1], found["total"][-1]) == (1, None)


def test_an_expert_is_used_when_it_is_the_argmax_on_one_in_ten_k_rows():
    tally = Tally(num_experts=4, num_classes=2)
    chosen = torch.tensor([0] * 77 + [1] * 2 + [2] * 1)  # of 80 rows, 1/(10 K) is exactly 2
    log_gate = torch.nn.functional.one_hot(chosen, 4).float().mul(9).log_softmax(-1)
    tally.update(log_gate, torch.full((80, 4, 2), 0.5).log(), torch.zeros(80, dtype=torch.int64))
    figures = tally.result()
    assert (figures.experts_used, figures.dead_experts) == (2, 2)


def test_a_class_without_rows_and_an_empty_tally():
    tally = Tally(num_experts=2, num_classes=3)
    with pytest.raises(GatewiseError, match="no rows to evaluate"):
        tally.result()
    tally.update(torch.zeros(2, 2).log_softmax(-1), torch.zeros(2, 2, 3).log_softmax(-1), torch.tensor([0, 2]))
    assert tally.details().gate_by_class[1] == [None, None]


def test_the_mode_is_left_as_it_was(scene):
    mixture, x, y = scene
    mixture.train()
    evaluate(mixture, x, y, 3)
    assert mixture.training
