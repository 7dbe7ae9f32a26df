import json

import pytest

from .conftest import QUICK

FEW = ["--estimators", "enumeration,score-function:baseline=none,gumbel-softmax", "--seconds", "1", "--rows", "40"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_is_audited_with_its_own_estimator(gatewise, here, table):
    words = ["--estimator", "gumbel-softmax", "--temperature", "linear:1:0.4", "--samples", "2"]
    assert gatewise("train", table, "--target", "grade", "--out", "run", *words, *QUICK).status == 0
    done = gatewise("audit", "run", *FEW, "--samples", "1", "--temperatures", "1,0.5", "--json")
    assert done.status == 0, done.err
    told = done.json
    own = [row for row in told["rows"] if row["own"]]
    assert [(row["estimator"], row["num_samples"], row["temperature"]) for row in own] == [("gumbel-softmax", 2, 0.4)]
    assert len(told["rows"]) == 5
    assert told["recommended"]["estimator"] == "enumeration"
    assert {"estimator", "num_samples", "options", "reason"} == told["recommended"].keys()
    assert told["trained"]
    assert told["examples"] == 40
    assert told["command"].startswith("gatewise audit run --estimators")
    assert json.loads((here / "run" / "audit.json").read_text()) == told
    page = (here / "run" / "audit.html").read_text()
    assert "The estimator of this run, gumbel-softmax" in page


def test_data_are_audited_before_training(gatewise, here):
    done = gatewise("audit", "iris", *FEW, "--experts", "3", "--max-evaluations", "1", "--level", "parameters")
    assert done.status == 0, done.err
    assert "iris, before training: 40 examples, K = 3" in done.out
    assert "Use score-function:baseline=none" in done.out
    assert "before training: bias and variance change" in done.out
    assert (here / "audits" / "iris-1" / "audit.html").is_file()
    assert gatewise("audit", "iris", *FEW, "--experts", "3", "--json").json["recommended"]["estimator"] == "enumeration"
    assert (here / "audits" / "iris-2" / "audit.json").is_file()


def test_the_table_fits_80_columns(gatewise, here, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    done = gatewise("audit", "iris", *FEW, "--experts", "3", "--out", "o")
    lines = done.out.splitlines()
    header = next(line for line in lines if line.startswith("estimator"))
    assert header.split() == ["estimator", "S", "λ", "bias", "95", "%", "scale", "error", "runs", "ms"]
    assert "…" not in done.out


def test_rows_of_another_file_are_audited(gatewise, here, table, run_folder):
    done = gatewise("audit", run_folder, "--data", table, *FEW, "--out", here / "elsewhere", "--json")
    assert done.status == 0, done.err
    assert done.json["data"] == str(table)
    assert (here / "elsewhere" / "audit.json").is_file()
    assert not (run_folder / "audit.json").exists()


@pytest.mark.parametrize("objective", ["marginal", "multi-sample"])
def test_a_run_of_another_objective_is_told_what_was_audited(gatewise, here, objective):
    assert gatewise("train", "iris", "--objective", objective, "--out", "run", *QUICK).status == 0
    told = gatewise("audit", "run", *FEW, "--json").json
    assert not any(row["own"] for row in told["rows"])
    assert any(f"objective here is {objective}" in note for note in told["notes"])


MISTAKES = {
    "nothing": ("", "audit needs a run folder, or DATA"),
    "no such data": ("nowhere.csv", "no such file"),
    "an unknown estimator": ("iris --estimators scorefunction", "did you mean 'score-function'"),
    "an estimator of another objective": ("iris --estimators vimco", "unknown estimator 'vimco'"),
    "samples beside an estimator": ("iris --estimators score-function:samples=2", "--samples"),
    "numbers that are none": ("iris --samples 1,two", "whole numbers"),
    "a temperature of zero": ("iris --temperatures 0", "positive"),
    "an unknown level": ("iris --level weights", "unknown level"),
    "too few evaluations": ("iris --estimators enumeration --max-evaluations 2", "raise max_evaluations to 8"),
    "no rows": ("iris --rows 0", "rows: give a whole number from 1"),
    "data beside data": ("iris --data other.csv", "--data goes with a run folder"),
    "no time": ("iris --seconds 0", "must be positive"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_line(gatewise, here, mistake):
    words, said = MISTAKES[mistake]
    done = gatewise("audit", *words.split())
    assert done.status == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not list(here.iterdir())


def test_a_configuration_file_may_hold_what_the_flags_do(gatewise, here):
    (here / "audit.toml").write_text('seconds = 1\nrows = 40\nestimators = ["enumeration"]\nexperts = 3\n')
    assert gatewise("audit", "iris", "--config", "audit.toml", "--json").json["num_categories"] == 3
    (here / "wrong.toml").write_text('seconds = "long"\n')
    done = gatewise("audit", "iris", "--config", "wrong.toml")
    assert (done.status, "wrong.toml: seconds: give a number" in done.err) == (2, True)


def test_a_run_is_not_configured_again(gatewise, run_folder):
    done = gatewise("audit", run_folder, "--experts", "3")
    assert done.status == 2
    assert "leave out --experts" in done.err
