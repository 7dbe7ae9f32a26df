import json
import shutil

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
    assert [(row["estimator"], row["num_samples"]) for row in own] == [("gumbel-softmax", 2)]
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
    "too few evaluations": ("iris --estimators enumeration --max-evaluations 2", "raise max_evaluations to 4"),
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


def test_the_samples_of_a_training_configuration_are_the_own_estimators(gatewise, here):
    (here / "train.toml").write_text(
        'estimator = "score-function"\nbaseline = "leave-one-out"\nsamples = 2\nexperts = 3\n'
    )
    told = gatewise("audit", "iris", "--config", "train.toml", "--estimators", "enumeration", *FEW[2:], "--json").json
    assert [(row["label"], row["num_samples"]) for row in told["rows"] if row["own"]] == [
        ("score-function:baseline=leave-one-out", 2)
    ]


def test_other_rows_under_the_same_name_are_refused(gatewise, here):
    rows = "".join(f"{i},{i % 5},{'no' if i % 2 else 'yes'}\n" for i in range(60))
    (here / "mine.csv").write_text("a,b,y\n" + rows)
    assert gatewise("train", "mine.csv", "--target", "y", "--out", "run", *QUICK).status == 0
    (here / "mine.csv").write_text("a,b,y\n" + rows.replace("7", "8"))
    done = gatewise("audit", "run", *FEW)
    assert done.status == 2
    assert "has changed since this run was trained" in done.err


def test_lambda_is_that_of_the_epoch_whose_weights_were_kept(gatewise, here):
    words = ["--estimator", "gumbel-softmax", "--temperature", "linear:1:0.1", *QUICK]
    assert gatewise("train", "iris", "--out", "run", *words).status == 0
    best = json.loads((here / "run" / "summary.json").read_text())["best_epoch"]
    lines = [json.loads(line) for line in (here / "run" / "metrics.jsonl").read_text().splitlines()]
    told = gatewise("audit", "run", *FEW, "--json").json
    (own,) = [row for row in told["rows"] if row["own"]]
    assert own["temperature"] == lines[best - 1]["temperature"]


def test_a_damaged_run_is_called_so(gatewise, here):
    (here / "run").mkdir()
    (here / "run" / "config.toml").write_text('data = "iris"\n')
    done = gatewise("audit", "run")
    assert (done.status, "summary.json" in done.err) == (2, True)


def test_a_summary_without_its_keys_is_called_damaged(gatewise, here, run_folder):
    copy = here / "run"
    shutil.copytree(run_folder, copy)
    (copy / "summary.json").write_text("{}")
    for command in ("audit", "evaluate"):
        done = gatewise(command, "run")
        assert (done.status, "summary.json: it has no " in done.err) == (2, True)


def test_a_folder_that_cannot_be_made_is_refused_before_the_work(gatewise, here):
    (here / "file").write_text("")
    done = gatewise("audit", "iris", "--out", "file")
    assert (done.status, "cannot make the folder file" in done.err) == (2, True)


def test_a_run_is_not_configured_again(gatewise, run_folder):
    done = gatewise("audit", run_folder, "--experts", "3")
    assert done.status == 2
    assert "leave out --experts" in done.err
