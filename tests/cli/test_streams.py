"""Standard output and error on a full disk, closed, or read by nobody; screens of impossible sizes."""

import json
import os
import subprocess
import sys

import pytest

from .conftest import QUICK

FULL = "cannot write to standard output: No space left on device"
LINUX = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is a full disk")


def shell(line, **environment):
    """What `gatewise …` in a shell comes to: its status, standard output and error."""
    script = line.replace("gatewise", f"{sys.executable} -m gatewise", 1)
    return subprocess.run(
        ["bash", "-c", f"{script}; exit ${{PIPESTATUS[0]}}"], capture_output=True, text=True, check=False,
        env=os.environ | environment,
    )  # fmt: skip


@pytest.fixture
def written(gatewise, monkeypatch):
    """Run a command line in this process, its standard output on a full disk."""

    def run(*words, stream="stdout"):
        with open("/dev/full", "w") as full:
            monkeypatch.setattr(sys, stream, full)
            done = gatewise(*words)
            monkeypatch.undo()
        return done

    return run


@LINUX
@pytest.mark.parametrize(
    "words",
    [
        "evaluate {run} {table}",
        "evaluate {run} {table} --json",
        "predict {run} {table}",
        "estimators",
        "estimators reinmax",
        "config",
        "doctor --json",
        "train --help",
        "--version",
        "report {run}",
    ],
)
def test_what_is_lost_on_standard_output_is_one_line_and_no_success(written, run_folder, table, words):
    done = written(*words.format(run=run_folder, table=table).split())
    assert done.status == 1
    assert [line for line in done.err.splitlines() if not line.startswith("not as it was")] == [f"gatewise: {FULL}"]


@LINUX
def test_a_training_goes_on_without_its_output_and_says_so(written, tmp_path):
    run = tmp_path / "run"
    done = written("train", "iris", "--out", run, *QUICK)
    assert done.status == 0
    assert done.err.splitlines()[-1] == f"gatewise: {FULL}; the training is in {run}"
    assert (run / "report.html").is_file()
    assert not (run / "checkpoints").exists()
    lost = written("train", "iris", "--json", "--out", tmp_path / "json", *QUICK)
    assert lost.status == 1  # what it was to print was asked for
    assert lost.err.splitlines()[-1] == f"gatewise: {FULL}"
    assert (tmp_path / "json/report.html").is_file()


@LINUX
def test_what_is_lost_on_standard_error_costs_nothing_and_a_mistake_is_said_elsewhere(written, run_folder, tmp_path):
    run = tmp_path / "run"
    done = written("train", "iris", "--json", "--out", run, *QUICK, stream="stderr")
    assert (done.status, done.json["run"]) == (0, str(run))
    assert (run / "report.html").is_file()
    wrong = written("evaluate", tmp_path / "nowhere", stream="stderr")
    assert wrong.status == 2
    assert wrong.out.startswith("gatewise: there is no run folder")


@LINUX
def test_the_process_itself_ends_so(run_folder, table):
    full = shell(f"gatewise predict {run_folder} {table} > /dev/full")
    assert (full.returncode, full.stderr.splitlines()[-1]) == (1, f"gatewise: {FULL}")
    both = shell("gatewise estimators > /dev/full 2> /dev/full")
    assert (both.returncode, both.stdout, both.stderr) == (1, "", "")


def test_a_closed_stream_is_no_error_and_nothing_is_opened_in_its_place(run_folder, table):
    assert shell("gatewise estimators >&-").returncode == 0
    done = shell(f"gatewise evaluate {run_folder} {table} --json 2>&- 0<&-")
    assert done.returncode == 0
    assert json.loads(done.stdout)["rows"] == 90


def test_a_reader_that_stops_in_the_middle_is_no_error(run_folder, table, tmp_path):
    long = tmp_path / "long.csv"
    head, *rows = table.read_text().splitlines()
    long.write_text("\n".join([head, *rows * 400]) + "\n")  # more than a pipe holds
    done = shell(f"gatewise predict {run_folder} {long} | head -2 | wc -l")
    assert [line for line in done.stderr.splitlines() if not line.startswith("not as it was")] == []
    assert (done.returncode, done.stdout.strip()) == (0, "2")


@pytest.mark.parametrize("columns", ["0", "1", "abc", "-1", "99999999999", ""])
def test_a_screen_of_whatever_size_is_no_error(gatewise, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("LINES", columns)
    done = gatewise("estimators")
    assert (done.status, done.err) == (0, "")
    assert "reinmax" in done.out or columns == "1"
    assert gatewise("train", "--help").status == 0


def test_a_stream_with_few_letters_gets_the_others_escaped(run_folder, table):
    done = shell(f"gatewise evaluate {run_folder} {table}", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "effective experts" in done.stdout
