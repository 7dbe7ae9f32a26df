import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest

import gatewise as gw
from gatewise.cli.app import app
from tests.estimators.cases import needed

from .conftest import QUICK

EVALUATE_KEYS = {
    "accuracy",
    "nll",
    "accuracy_top1",
    "nll_top1",
    "jensen",
    "bound_gap",
    "gate_entropy",
    "mutual_information",
    "effective_experts",
    "experts_used",
    "dead_experts",
    "ece",
    "brier",
    "rows",
    "auc",
    "average_precision",
    "classes",
    "constant_nll",
    "constant_accuracy",
}


def test_train_prints_the_results_and_where_the_report_is(gatewise, tmp_path):
    done = gatewise("train", "iris", "--out", tmp_path / "iris", *QUICK)
    assert done.status == 0
    assert "Trained 3 experts on 105 rows of iris" in done.out
    assert "accuracy" in done.out
    assert str(tmp_path / "iris" / "report.html") in done.out
    assert (tmp_path / "iris" / "report.html").stat().st_size > 1000
    assert "epoch 1/3" in done.err
    assert "NLL" in done.err
    assert "\x1b" not in done.out + done.err  # no colours, no bar: this is no terminal


def test_train_json_is_one_object(gatewise, tmp_path):
    done = gatewise("train", "iris", "--out", tmp_path / "iris", "--json", *QUICK)
    assert done.status == 0
    assert done.json["run"] == str(tmp_path / "iris")
    assert done.json["test"].keys() == EVALUATE_KEYS
    assert done.json["command"].startswith("gatewise train iris --out")


def test_the_run_folder_has_a_default_name(gatewise, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        assert gatewise("train", "iris", *QUICK).status == 0
        assert (tmp_path / f"runs/iris-{number}/summary.json").is_file()


def test_evaluate(gatewise, run_folder, table):
    on_test = gatewise("evaluate", run_folder, "--json")
    assert on_test.status == 0
    found = on_test.json
    assert len(found.pop("selective")) == 5
    # this table repeats itself: what the rows of the test equal was trained on
    assert found.pop("rows_seen") == json.loads((run_folder / "summary.json").read_text())["data"]["test_rows_seen"]
    assert found.pop("unlabelled") == 0
    assert found.keys() == EVALUATE_KEYS
    assert found["rows"] == 18
    expected = json.loads((run_folder / "summary.json").read_text())["test"]
    for own, there in zip(found.pop("classes"), expected.pop("classes"), strict=True):
        assert own.pop("name") == there.pop("name")
        assert list(own.values()) == [
            None if each is None else pytest.approx(each, rel=1e-5) for each in there.values()
        ]
    assert found == pytest.approx(expected, rel=1e-5)
    on_all = gatewise("evaluate", run_folder, table)
    assert "90 rows" in on_all.out
    assert "top-1 expert" in on_all.out


def test_predict(gatewise, run_folder, table, tmp_path):
    rows = pl.read_csv(table, infer_schema=False)
    rows = rows.rename({name: name.strip() for name in rows.columns}).drop("grade")
    rows.write_csv(tmp_path / "new.csv")
    done = gatewise("predict", run_folder, tmp_path / "new.csv", "-o", tmp_path / "out.parquet")
    assert done.status == 0
    assert done.out == ""
    written = pl.read_parquet(tmp_path / "out.parquet")
    assert set(written.columns) == {"label", "p_0012", "p_N", "p_None", "expert"}
    assert len(written) == 90
    assert set(written["label"]) <= {"0012", "N", "None"}
    printed = gatewise("predict", run_folder, table)  # with labels, to standard output
    assert printed.status == 0
    assert printed.out.splitlines()[0] == ",".join(written.columns)
    assert len(printed.out.splitlines()) == 91
    top1 = gatewise("predict", run_folder, table, "--route", "top1", "-o", tmp_path / "out.csv")
    assert top1.status == 0
    assert pl.read_csv(tmp_path / "out.csv")["expert"].to_list() == written["expert"].to_list()


def test_estimators(gatewise):
    told = gatewise("estimators", "--json").json["estimators"]
    assert [fact["name"] for fact in told] == gw.estimators.names()
    enumeration = next(fact for fact in told if fact["name"] == "enumeration")
    assert enumeration["unbiased"] == ["value", "logits", "parameters"]
    assert enumeration["evaluations"] == 8
    printed = gatewise("estimators").out
    assert all(name in printed for name in gw.estimators.names())
    assert "…" not in printed


def test_one_estimator_is_explained(gatewise):
    printed = gatewise("estimators", "reinmax").out
    assert "2304.08612" in printed
    assert "Options: temperature, variant, scale, replicates" in printed
    assert [fact["name"] for fact in gatewise("estimators", "relax", "--json").json["estimators"]] == ["relax"]
    refused = gatewise("estimators", "armm")
    assert refused.status == 2
    assert "did you mean 'arsm'" in refused.err


def test_a_configuration_file_and_flags_that_win_over_it(gatewise, tmp_path):
    file = tmp_path / "run.toml"
    keys = f'out = "{tmp_path}/named"\ndata = "iris"\nepochs = 2\nexperts = 3\nexpert_hidden = [8]\n'
    file.write_text(keys + "[regulariser]\nload = 0.2\n")
    done = gatewise("train", "--config", file, "--epochs", "1", "--out", tmp_path / "run", "--json")
    assert done.status == 0
    assert done.json["epochs"] == 1
    assert done.json["config"]["regulariser"] == {"load": 0.2}
    assert gatewise("train", "--config", file, "--json").json["run"] == f"{tmp_path}/named"
    again = gatewise("train", "--config", tmp_path / "run/config.toml", "--out", tmp_path / "again", "--json")
    assert again.json["test"] == done.json["test"]


def test_a_run_of_each_objective_and_estimator(gatewise, tmp_path):
    for number, name in enumerate(gw.estimators.names()):
        words = ["train", "iris", "--out", tmp_path / str(number), "--objective", "jensen", "--estimator", name, *QUICK]
        samples = gw.estimators.get(name, **needed(name)).sample_counts.start
        assert gatewise(*words, "--samples", samples).status == 0
    for name in gw.objectives.names():
        assert gatewise("train", "iris", "--out", tmp_path / name, "--objective", name, *QUICK).status == 0


def test_what_the_help_points_to_names_every_objective_and_estimator(gatewise):
    told = gatewise("train", "--help").out
    assert "Listed by gatewise config objective." in told
    assert "Listed by gatewise estimators." in told
    assert all(f'"{name}"' in gatewise("config", "objective").out for name in gw.objectives.names())
    assert all(name in gatewise("estimators").out for name in gw.estimators.names())


def test_npz_with_its_own_test_rows(gatewise, tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 255, (120, 8, 8), dtype=np.uint8), np.arange(120) % 3
    np.savez(tmp_path / "images.npz", x_train=x, y_train=y, x_test=x[:30], y_test=y[:30])
    done = gatewise(
        "train", tmp_path / "images.npz", "--out", tmp_path / "run", "--set", "expert=conv", "--json", *QUICK
    )
    assert done.status == 0
    assert done.json["data"]["test_rows"] == 30
    assert gatewise("evaluate", tmp_path / "run", "--json").json["rows"] == 30


def test_the_teacher_whose_choices_are_known(gatewise, tmp_path):
    done = gatewise("train", "teacher", "--out", tmp_path / "run", "--epochs", "1", "--json")
    assert done.status == 0
    assert done.json["data"]["rows"] == 20000


def test_collapse_is_warned_of_and_the_defaults_are_not(gatewise, tmp_path):
    bare = ["--objective", "jensen", "--estimator", "score-function", "--regulariser", "none"]
    bare += ["--set", "gate_lr=0.001"]  # slow enough that the winner of the first epochs takes all
    collapsed = gatewise("train", "digits", "--out", tmp_path / "bare", "--epochs", "15", "--json", *bare)
    assert collapsed.err.count("warning: ") == 1
    assert "the gate has collapsed" in collapsed.json["warnings"][0]
    healthy = gatewise("train", "digits", "--out", tmp_path / "healthy", "--epochs", "15", "--json")
    assert "warning: " not in healthy.err
    assert healthy.json["warnings"] == []
    assert healthy.json["test"]["dead_experts"] == 0


def test_help_fits_one_screen_and_has_an_example(gatewise, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    commands = [command.name for command in app.registered_commands]
    assert len(commands) == 10
    for command in commands:
        told = gatewise(command, "--help")
        assert told.status == 0
        assert "Example: gatewise" in told.out
        assert len(told.out.splitlines()) <= 46
    assert "0.1.0" in gatewise("--version").out


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_the_model(tmp_path, number, status):
    words = [sys.executable, "-m", "gatewise", "train", "digits", "--out", str(tmp_path / "run"), "--epochs", "100000"]
    process = subprocess.Popen(
        [*words, "--set", "patience=0", "--set", "threads=1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "run/metrics.jsonl").exists() or not (tmp_path / "run/metrics.jsonl").stat().st_size:
        assert time.monotonic() < deadline, "training did not begin"
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == status, err
    assert "the best model so far is in" in err
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["interrupted"]
    assert (tmp_path / "run/model/weights.safetensors").is_file()


@pytest.mark.parametrize("words", ["predict {run} {table} | head -1", "evaluate {run} | true"])
def test_a_reader_that_goes_away_is_no_error(run_folder, table, words):
    line = words.format(run=run_folder, table=table)
    script = f"{sys.executable} -m gatewise {line}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    said = done.stderr.splitlines()
    assert not [line for line in said if not line.startswith("not as it was in training: threads")]
    assert done.returncode == 0


def test_training_goes_on_when_nobody_reads_its_progress(tmp_path):
    words = f"{sys.executable} -m gatewise train iris --out {tmp_path / 'run'} {' '.join(QUICK[:4])}"
    script = f"{words} 2>&1 >/dev/null | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert (tmp_path / "run/report.html").is_file()


def test_names_with_brackets_are_names(gatewise, tmp_path, table):
    data = tmp_path / "a[" / "b].csv"
    data.parent.mkdir()
    data.write_bytes(table.read_bytes())
    run = tmp_path / "y[/z]"
    done = gatewise("train", data, "--target", "grade", "--out", run, *QUICK)
    assert done.status == 0
    assert "a[/b].csv" in done.out  # as markup this would close a tag that was never opened
    assert "y[/z]" in gatewise("evaluate", run).out.replace("\n", "")


def test_no_arguments_show_the_help(gatewise):
    done = gatewise()
    assert done.status == 2
    assert "train" in done.out + done.err
    assert "gatewise: " not in done.err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_predictions_leave_nothing_half(run_folder, table, tmp_path, number, status):
    (tmp_path / "out.csv").write_text("mine")
    script = f"""
import os, signal, sys
from gatewise.cli import main
from gatewise.runs import Run
one = Run.stream
def endless(self, *args, **keys):
    while True:
        yield from one(self, *args, **keys)
        sys.stderr.write("." * 1000)  # until somebody reads that there are rows
Run.stream = endless
main(["predict", {str(run_folder)!r}, {str(table)!r}, "-o", {str(tmp_path / "out.csv")!r}])
"""
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.read(5000)
        process.send_signal(number)
        said = process.stderr.read()
    assert process.returncode == status
    assert said.lstrip(".") == "gatewise: stopped\n"
    assert (tmp_path / "out.csv").read_text() == "mine"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("more", [["--seed", "0"], ["--config", "run.toml"], ["digits"]])
def test_going_on_takes_no_other_word(gatewise, tmp_path, more):
    done = gatewise("train", "--resume", tmp_path / "run", *more)
    assert done.status == 2
    name = "data" if more == ["digits"] else more[0].strip("-")
    assert done.err == f"gatewise: --resume goes on with what the run was begun with; leave {name} out\n"
