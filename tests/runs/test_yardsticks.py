"""What figures are held against: the best answer that does not look at the row, and rows that were trained on."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, root_mean_squared_error

from gatewise.cli import main
from gatewise.metrics.constant import ConstantFigures, constant_answer
from gatewise.runs.seen_rows import SeenRows, hashes

DRAW = np.random.default_rng(0)


def measured(head, classes, train, test):
    figures = ConstantFigures(constant_answer(head, classes, torch.from_numpy(train)))
    for part in torch.from_numpy(test).split(7):
        figures.update(part)
    return figures.result()


def test_of_classes_as_scikit_learns_dummy():
    train, test = DRAW.choice(3, 100, p=[0.5, 0.3, 0.2]), DRAW.choice(3, 40, p=[0.2, 0.3, 0.5])
    dummy = DummyClassifier(strategy="prior").fit(train[:, None], train)
    found = measured("categorical", 3, train, test)
    assert found["constant_nll"] == pytest.approx(log_loss(test, dummy.predict_proba(test[:, None])))
    assert found["constant_accuracy"] == pytest.approx(accuracy_score(test, dummy.predict(test[:, None])))


def test_of_numbers_as_scikit_learns_dummy():
    train, test = DRAW.lognormal(size=101), DRAW.lognormal(size=40)
    found = measured("gaussian", 0, train, test)
    for strategy, key, measure in (
        ("mean", "constant_rmse", root_mean_squared_error),
        ("median", "constant_mae", mean_absolute_error),
    ):
        dummy = DummyRegressor(strategy=strategy).fit(train[:, None], train)
        assert found[key] == pytest.approx(measure(test, dummy.predict(test[:, None])))


def test_of_labels_and_of_what_nobody_kept():
    train, test = (DRAW.random((n, 2)) < [0.2, 0.7] for n in (200, 40))
    found = measured("bernoulli", 0, train.astype(np.float32), test.astype(np.float32))
    share = train.mean(0)
    expected = -np.where(test, np.log(share), np.log1p(-share)).sum(1).mean()
    assert found["constant_nll"] == pytest.approx(expected, rel=1e-6)
    assert found["constant_accuracy"] == pytest.approx((test == (share > 0.5)).mean())
    assert ConstantFigures({}).result() == {}
    nothing = ConstantFigures({})
    nothing.update(torch.zeros(3))
    assert nothing.result() == {}


def test_a_class_that_training_had_no_row_of_leaves_no_nll():
    assert "constant_nll" not in measured("categorical", 2, np.zeros(5, dtype=int), np.array([0, 1]))


def test_rows_are_told_from_others(tmp_path):
    x = torch.randn(500, 6)
    seen = SeenRows.of(x[:300])
    seen.save(tmp_path)
    again = SeenRows.load(tmp_path)
    again.update(x[200:350])
    again.update(x[350:])
    assert (again.seen, again.rows) == (100, 300)
    assert SeenRows.load(tmp_path / "nowhere") is None
    (tmp_path / "training_rows.safetensors").write_bytes(b"no")
    assert SeenRows.load(tmp_path) is None
    zeros = torch.tensor([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0]])
    assert len(set(hashes(zeros).tolist())) == 2


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on a table with a column that gives the answer away."""
    folder = tmp_path_factory.mktemp("leak")
    x = DRAW.normal(size=(200, 2))
    survived = (x[:, 0] + DRAW.normal(size=200) > 0).astype(int)
    alive = pl.Series(["no", "yes"]).gather(survived)
    pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "alive": alive, "y": survived}).write_csv(folder / "ship.csv")
    with pytest.raises(SystemExit) as stopped:
        main(["train", str(folder / "ship.csv"), "--target", "y", "-o", str(folder / "run"), "--epochs", "2"])
    assert not stopped.value.code
    return folder


def test_a_run_says_what_it_is_held_against(run, capsys):
    summary = json.loads((run / "run/summary.json").read_text())
    assert summary["data"]["telling"] == ["alive"]
    assert summary["data"]["test_rows_seen"] == 0
    assert 0.6 < summary["test"]["constant_nll"] < 0.8
    page = (run / "run/report.html").read_text()
    assert "the frequencies of the classes in training" in page
    assert "The column alive alone tells the target" in page
    with pytest.raises(SystemExit):
        main(["evaluate", str(run / "run"), str(run / "ship.csv")])
    said = capsys.readouterr().out
    assert "140 of these 200 rows equal rows that were trained on" in said
    assert "Always answering the frequencies in the rows trained on" in said
    with pytest.raises(SystemExit):
        main(["evaluate", str(run / "run"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["rows_seen"] == 0
    assert found["constant_nll"] == pytest.approx(summary["test"]["constant_nll"])
