import json

import pytest
import torch

from gatewise import GatewiseError
from gatewise.config import load_config
from gatewise.runs import train
from gatewise.runs.audit import audit_run


def config(**keys):
    few = {"data": "iris", "epochs": 5, "expert_hidden": [6], "experts": 3}
    return load_config({**few, "estimator": "score-function", **keys})


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    return train(config(audit_every=2), tmp_path_factory.mktemp("runs") / "audited")


def lines(run):
    return [json.loads(line) for line in (run.folder / "audits.jsonl").read_text().splitlines()]


def test_the_estimator_is_audited_after_the_first_the_last_and_every_second_epoch(audited):
    assert [line["epoch"] for line in lines(audited)] == [1, 2, 4, 5]
    for line in lines(audited):
        (row,) = line["rows"]
        assert row["estimator"] == "score-function"
        assert row["own"]
        assert row["relative_std"] > 0
        assert "start" not in line


def test_training_goes_the_way_it_would_without(audited, tmp_path):
    plain = train(config(), tmp_path / "plain")
    assert not (plain.folder / "audits.jsonl").exists()
    weights = plain.model.mixture.state_dict()
    for name, value in audited.model.mixture.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_the_temperature_is_that_of_the_moment(tmp_path):
    run = train(config(estimator="gumbel-softmax", temperature="linear:1:0.5", audit_every=1), tmp_path / "run")
    temperatures = [line["temperature"] for line in lines(run)]
    assert temperatures == [line["rows"][0]["temperature"] for line in lines(run)]
    assert temperatures == sorted(temperatures, reverse=True)
    assert len(set(temperatures)) == 5


def test_the_report_shows_it(audited):
    page = (audited.folder / "report.html").read_text()
    assert "The gradient along training" in page
    assert "score-function against the exact gradient" in page


def test_a_gate_that_has_no_gradient_does_not_stop_training(tmp_path):
    run = train(config(experts=1, audit_every=1, regulariser={}), tmp_path / "one")
    assert all(not line["rows"] and "exact gradient is 0" in line["reason"] for line in lines(run))
    assert "There is nothing to draw" in (run.folder / "report.html").read_text()


def test_what_has_no_estimator_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(GatewiseError, match="and the marginal objective has another"):
        train(config(objective="marginal", estimator="enumeration", audit_every=1), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_line_is_named(audited, tmp_path):
    from gatewise.reporting.reading import read_audits

    path = tmp_path / "audits.jsonl"
    for damaged in ('{"epoch": 1, "rows": [{}]}', "{", "[]", '{"epoch": 1, "rows": [{"label": NaN}]}'):
        path.write_text(json.dumps(lines(audited)[0]) + "\n" + damaged + "\n")
        with pytest.raises(GatewiseError, match="line 2"):
            read_audits(path)


def test_the_rows_of_an_audit_are_training_rows(audited):
    found, about = audit_run(audited, rows=10_000, estimators=["enumeration"], seconds=1)
    assert found.examples == audited.summary["data"]["train_rows"]
    assert about["trained"]
