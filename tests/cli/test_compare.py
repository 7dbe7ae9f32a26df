"""`gatewise compare` as it is typed: what it prints, what it refuses, its exit status, and a signal in the middle."""

import json
import signal
import subprocess
import sys
import time

import pytest

import gatewise as gw
from gatewise.comparison import cells

from .test_bad_input import refused

QUICK = ["--epochs", "2", "--experts", "2", "--set", "expert_hidden=[4]", "--jobs", "1"]


@pytest.fixture(autouse=True)
def plain_reports(monkeypatch):
    """The pictures of a cell's own report take longer than such a training."""
    monkeypatch.setattr("gatewise.runs.folder.write_report", lambda run: (run / "report.html").write_text("report"))


@pytest.fixture
def compared(gatewise, tmp_path, monkeypatch):
    """A comparison of iris in the working folder, with one seed."""
    monkeypatch.chdir(tmp_path)
    return gatewise("compare", "iris", "--estimators", "enumeration,rebar", "--seeds", "1", *QUICK)


def test_it_prints_a_table_a_verdict_and_where_the_page_is(compared, tmp_path):
    assert compared.status == 0
    lines = compared.out.splitlines()
    summary = json.loads((tmp_path / "runs/compare-iris/comparison.json").read_text())
    for combination in summary["combinations"]:
        (row,) = [
            line for line in lines if line.startswith("jensen ") and f"{combination['test']['nll']['mean']:.4f}" in line
        ]
        assert f"{combination['test']['accuracy_top1']['mean']:.4f}" in row
    assert "one seed, so there are no intervals" in compared.out
    assert "Best is jensen" in compared.out
    assert "runs/compare-iris/comparison.html" in compared.out
    assert max(map(len, lines[:8])) <= 80
    assert "2 cells: 2 to train\n1/2  jensen enumeration, seed 0: test NLL" in compared.err
    assert "\x1b" not in compared.out + compared.err


def test_the_same_command_goes_on_and_json_is_one_object(compared, gatewise):
    words = ["compare", "iris", "--estimators", "enumeration,rebar", "--seeds", "2", *QUICK, "--json"]
    more = gatewise(*words)
    assert more.status == 0
    assert "4 cells, 2 of them done before: 2 to train" in more.err
    told = more.json
    assert told["folder"] == "runs/compare-iris"
    assert told["command"] == "gatewise " + " ".join(words).replace("expert_hidden=[4]", "'expert_hidden=[4]'")
    assert {"combinations", "cells", "data", "judged", "seeds"} < told.keys()
    assert gatewise(*words[:-1]).out.count("±") >= 8


def test_cells_that_fail_make_it_end_with_status_1(gatewise, tmp_path, monkeypatch):
    train = cells.train

    def fail_once(config, *args, **options):
        if config.objective == "marginal":
            raise gw.GatewiseError("training diverged [here]")
        return train(config, *args, **options)

    monkeypatch.setattr(cells, "train", fail_once)
    words = ["compare", "iris", "--objectives", "marginal,jensen", "--estimators", "enumeration", "--seeds", "1"]
    done = gatewise(*words, *QUICK, "--out", tmp_path / "out")
    assert done.status == 1
    assert "marginal, seed 0: failed: training diverged [here]" in done.err
    assert "1 failed" in done.out
    assert "! marginal failed with seed 0: training diverged [here]" in done.out
    assert "Traceback" not in done.out + done.err


def test_a_configuration_file_may_say_it_all(gatewise, tmp_path):
    file = tmp_path / "compare.toml"
    file.write_text(
        f'out = "{tmp_path}/out"\ndata = "iris"\nestimators = ["enumeration"]\nobjectives = "jensen,marginal"\n'
        "seeds = 1\njobs = 1\nepochs = 2\nexperts = 2\nexpert_hidden = [4]\n"
    )
    done = gatewise("compare", "--config", file, "--epochs", "1", "--json")
    assert done.status == 0
    assert done.json["config"]["epochs"] == 1
    assert [cell["combination"] for cell in done.json["cells"]] == ["jensen enumeration", "marginal"]


def test_objectives_of_every_kind_are_compared(gatewise, tmp_path):
    words = ["--objectives", "multi-sample,stratified,evidence,hard-em", "--estimators", "vimco", "--set", "samples=2"]
    done = gatewise(
        "compare", "iris", *words, *QUICK, "--seeds", "1", "--jobs", "1", "--out", tmp_path / "out", "--json"
    )
    assert done.status == 0, done.err
    told = {row["name"]: (row["samples"], row["evaluations"]) for row in done.json["combinations"]}
    expected = {"multi-sample vimco": (2, 2), "stratified": (2, 2), "evidence": (1, 2), "hard-em": (None, 2)}
    assert told == expected
    assert (tmp_path / "out" / "comparison.html").is_file()


def test_no_more_jobs_than_cores(gatewise, tmp_path, monkeypatch):
    monkeypatch.setattr("gatewise.cli.compare.cores", lambda: 1)
    words = ["compare", "iris", "--estimators", "enumeration", "--seeds", "1", *QUICK[:-1], "9"]
    done = gatewise(*words, "--out", tmp_path / "out")
    assert done.status == 0
    assert "1 at a time, not 9" in done.err


MISTAKES = {
    "no data": ("", "compare needs DATA"),
    "unknown data": ("digit", "did you mean 'digits'"),
    "unknown estimator": ("iris --estimators gumble-softmax", "did you mean 'gumbel-softmax'"),
    "unknown objective": ("iris --objectives elbo", "unknown objective 'elbo'"),
    "an empty name": ("iris --estimators enumeration,", "a name between the commas is missing"),
    "options with a comma": ("iris --estimators rebar,samples=2", "options follow their estimator after a colon"),
    "too few samples": (
        "iris --estimators score-function:baseline=leave-one-out",
        "write score-function:baseline=leave-one-out:samples=2",
    ),
    "an estimator for marginal": ("iris --objectives marginal --estimators rebar", "takes no estimator"),
    "no seeds": ("iris --seeds 0", "seeds: give a whole number from 1"),
    "seeds that are no number": ("--config bad.toml", "bad.toml: seeds: give a whole number from 1, got 'many'"),
    "estimators that are no names": ("--config worse.toml", "worse.toml: estimators: give names"),
    "unknown key": ("iris --set epoch=3", "did you mean 'epochs'"),
    "unknown flag": ("iris --sed 3", "--seed"),
    "a folder in use": ("iris --out taken", "taken is there already and is no comparison"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line(gatewise, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").write_text("mine")
    (tmp_path / "bad.toml").write_text('data = "iris"\nseeds = "many"\n')
    (tmp_path / "worse.toml").write_text('data = "iris"\nestimators = 3\n')
    words, *said = MISTAKES[case]
    refused(gatewise("compare", *words.split()), said)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("number", "status", "jobs"), [(signal.SIGINT, 130, "1"), (signal.SIGTERM, 143, "2")])
def test_a_signal_keeps_what_is_finished(gatewise, tmp_path, number, status, jobs):
    folder = tmp_path / "out"
    words = ["compare", "iris", "--estimators", "enumeration", "--epochs", "5", "--experts", "2", "--out", str(folder)]
    process = subprocess.Popen(
        [sys.executable, "-m", "gatewise", *words, "--seeds", "500", "--jobs", jobs],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 240
    while not list(folder.glob("cells/jensen*/summary.json")):
        assert time.monotonic() < deadline, "no cell was finished"
        time.sleep(0.1)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == status, err
    assert out == ""
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    assert " of 500 cells are finished and kept" in err
    kept = [path.name for path in (folder / "cells").iterdir()]
    assert all(name.startswith("jensen-enumeration-seed") for name in kept)  # and nothing half-done
    seed = kept[0].removeprefix("jensen-enumeration-seed")
    again = gatewise(*words, "--seeds", "1", "--jobs", "1", "--set", f"seed={seed}")
    assert "1 cell, 1 of them done before: 0 to train" in again.err
