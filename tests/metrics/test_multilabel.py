"""The figures of several labels, beside those of scikit-learn on the mixture's own probabilities."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, hamming_loss, roc_auc_score

from gatewise import MixtureOfExperts, MLPBank, objectives
from gatewise.config import LoopConfig
from gatewise.metrics.multilabel import LabelTally
from gatewise.mixture import Bernoulli, mlp
from gatewise.models.task import predicted_labels
from gatewise.training import fit
from tests.metrics.tallies import of_two_processes

NAMES = ["wet", "windy", "never"]


@pytest.fixture(scope="module")
def scene():
    torch.manual_seed(3)
    mixture = MixtureOfExperts(mlp(4, [8], 3), MLPBank(3, 4, [8], 3), head=Bernoulli()).eval()
    with torch.no_grad():
        for parameter in mixture.parameters():
            parameter.mul_(2)
        x = torch.randn(400, 4)
        y = (torch.rand(400, 3) < mixture.predict_mean(x)).float()
        mixture.experts.biases[-1][:, 2] -= 50  # neither there nor predicted
        y[:, 2] = 0
    return mixture, x, y


@torch.no_grad()
def test_the_figures_are_those_of_the_definitions(scene):
    mixture, x, y = scene
    found = LabelTally(mixture, names=NAMES).all_of([(x[:150], y[:150]), (x[150:], y[150:])]).result()
    probs, observed = mixture.predict_mean(x).numpy(), mixture.observe(x, y)
    told, there = (probs > 0.5).astype(int), y.numpy().astype(int)
    assert found["nll"] == pytest.approx(-observed.log_prob().mean().item(), rel=1e-5)
    assert found["exact_match"] == pytest.approx(accuracy_score(there, told))
    assert found["hamming_loss"] == pytest.approx(hamming_loss(there, told))
    assert found["accuracy"] == pytest.approx(1 - hamming_loss(there, told))
    for average in ("micro", "macro"):
        assert found[f"f1_{average}"] == pytest.approx(f1_score(there, told, average=average, zero_division=0))
    assert found["brier"] == pytest.approx(((probs - there) ** 2).mean(), rel=1e-5)
    first = mixture.predict_mean(x, "top1").numpy() > 0.5
    assert found["accuracy_top1"] == pytest.approx((first == there).mean())
    assert [label["name"] for label in found["labels"]] == NAMES
    for i, label in enumerate(found["labels"]):
        assert label["share"] == pytest.approx(there[:, i].mean())
        assert label["accuracy"] == pytest.approx((told[:, i] == there[:, i]).mean())
        assert label["f1"] == pytest.approx(f1_score(there[:, i], told[:, i], zero_division=0))
    assert found["labels"][0]["auc"] == pytest.approx(roc_auc_score(there[:, 0], probs[:, 0]))
    assert found["auc"] == pytest.approx(roc_auc_score(there[:, :2], probs[:, :2]))
    assert found["average_precision"] == pytest.approx(average_precision_score(there[:, :2], probs[:, :2]))
    assert found["labels"][2]["auc"] is None  # no row has it


def test_details_are_of_the_rows_that_have_a_label(scene):
    mixture, x, y = scene
    tally = LabelTally(mixture).all_of([(x, y)])
    details, gate = tally.details(), mixture.gate_proba(x).detach()
    for i in (0, 1):
        assert details["gate_by_class"][i] == pytest.approx(gate[y[:, i] == 1].mean(0).tolist(), rel=1e-4)
    assert details["gate_by_class"][2] == [None] * 3
    assert details["mean_gate"] == pytest.approx(gate.mean(0).tolist(), rel=1e-4)
    assert tally.result()["labels"][2]["name"] == "y2"


def test_a_prediction_has_a_column_for_each_label(scene):
    mixture, x, _ = scene
    columns = predicted_labels(mixture, x, "top1", 2, NAMES)
    np.testing.assert_allclose(np.stack(list(columns.values()), 1), mixture.predict_mean(x, "top1"))
    assert list(columns) == [f"p_{name}" for name in NAMES]


def test_epochs_are_judged_by_labels_too():
    torch.manual_seed(0)
    x = torch.randn(128, 2)
    y = (x > 0).float()
    mixture = MixtureOfExperts(torch.nn.Linear(2, 2), MLPBank(2, 2, [], 2), head=Bernoulli())
    settings = LoopConfig(epochs=5, batch_size=16, lr=0.1, starts=1)
    fitted = fit(mixture, objectives.get("jensen"), (x[:96], y[:96]), (x[96:], y[96:]), settings, num_classes=1)
    last = fitted.history[-1]
    assert last["validation_accuracy"] > 0.8  # 0.5 by chance, and 1 can be reached
    assert last["validation_exact_match"] <= last["validation_accuracy"]
    assert "validation_labels" not in last


@pytest.mark.parametrize("cut", [1, 150])
def test_the_tallies_of_several_processes_are_that_of_all_rows(scene, cut):
    mixture, x, y = scene
    found = of_two_processes(lambda: LabelTally(mixture, costly=False), x, y, cut)
    whole = LabelTally(mixture, costly=False).all_of([(x, y)])
    assert found.result() == pytest.approx(whole.result(), rel=1e-5, abs=1e-6)
    torch.testing.assert_close(found.counts, whole.counts)
