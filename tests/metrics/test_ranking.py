"""AUC and average precision, batch by batch, are those that scikit-learn computes from all rows at once."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

from gatewise.metrics import Tally
from gatewise.metrics.ranking import MOST_COLUMNS, Ranking


def scores(rows, columns, ties, seed):
    generator = torch.Generator().manual_seed(seed)
    found = torch.rand(rows, columns, generator=generator)
    truth = torch.rand(rows, columns, generator=generator) < found
    return ((found * 7).round() / 7 if ties else found), truth


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("rows", [2, 7, 1000])
def test_as_scikit_learn(rows, ties):
    p, truth = scores(rows, 3, ties, seed=rows)
    truth[0], truth[1] = True, False
    ranking = Ranking(3, held=4000)
    for part, own in zip(p.split(64), truth.split(64), strict=True):
        ranking.update(part, own)
    auc, precision = ranking.result()
    for column in range(3):
        assert auc[column].item() == pytest.approx(roc_auc_score(truth[:, column], p[:, column]), abs=1e-12)
        expected = average_precision_score(truth[:, column], p[:, column])
        assert precision[column].item() == pytest.approx(expected, abs=1e-12)


def test_memory_is_bounded_and_the_figures_hold_nearly():
    p, truth = scores(200_000, 1, False, seed=3)
    ranking = Ranking(1, held=4096)
    for part, own in zip(p.split(1000), truth.split(1000), strict=True):
        ranking.update(part, own)
        assert len(ranking.keys) <= 4096
        assert ranking.waits <= 4096
    auc, precision = ranking.result()
    assert ranking.dropped > 0
    assert auc.item() == pytest.approx(roc_auc_score(truth, p), abs=1e-5)
    assert precision.item() == pytest.approx(average_precision_score(truth, p), abs=1e-3)


def test_without_both_kinds_of_rows_there_is_no_figure():
    ranking = Ranking(2)
    ranking.update(torch.rand(5, 2), torch.tensor([[True, False]] * 5))
    assert all(figure.isnan().all() for figure in ranking.result())
    assert all(figure.isnan().all() for figure in Ranking(MOST_COLUMNS + 1).result())


@pytest.mark.parametrize("classes", [2, 4])
def test_the_figures_of_a_tally(classes):
    torch.manual_seed(classes)
    log_gate = torch.randn(500, 3).log_softmax(-1)
    log_experts = torch.randn(500, 3, classes).log_softmax(-1)
    p = (log_gate.unsqueeze(-1) + log_experts).logsumexp(1).exp()
    y = torch.distributions.Categorical(p).sample()
    tally = Tally(3, classes)
    for start in range(0, 500, 90):
        part = slice(start, start + 90)
        tally.update(log_gate[part], log_experts[part], y[part])
    found, by_class = tally.result(), tally.by_class([f"c{i}" for i in range(classes)])
    truth = np.eye(classes)[y]
    if classes == 2:
        assert found.auc == pytest.approx(roc_auc_score(y, p[:, 1]), abs=1e-12)
        assert found.average_precision == pytest.approx(average_precision_score(y, p[:, 1]), abs=1e-12)
    else:
        assert found.auc == pytest.approx(roc_auc_score(y, p.double() / p.double().sum(1, True), multi_class="ovr"))
        assert found.average_precision == pytest.approx(average_precision_score(truth, p, average="macro"), abs=1e-12)
        assert by_class[1]["auc"] == pytest.approx(roc_auc_score(truth[:, 1], p[:, 1]), abs=1e-12)
    expected = precision_recall_fscore_support(y, p.argmax(1))
    for key, values in zip(("precision", "recall", "f1", "rows"), expected, strict=True):
        assert [each[key] for each in by_class] == pytest.approx(values.tolist())


def test_what_has_no_value_is_left_out():
    tally = Tally(1, 2)
    tally.update(torch.zeros(4, 1), torch.tensor([0.9, 0.1]).log().expand(4, 1, 2), torch.zeros(4, dtype=torch.long))
    assert "auc" not in tally.result().to_dict()
    other = tally.by_class(["no", "yes"])[1]
    assert other == {"name": "yes", "rows": 0, **dict.fromkeys(set(other) - {"name", "rows"})}
