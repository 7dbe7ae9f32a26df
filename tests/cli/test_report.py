"""`gatewise report`: the page of one run, and of several."""

import json
import shutil

import pytest

from .conftest import QUICK


@pytest.fixture
def opened(monkeypatch):
    """The addresses that a browser was asked to show; False: there is no browser."""
    asked = []
    monkeypatch.setattr("webbrowser.open", lambda url: asked.append(url) or asked[0] is not None)
    return asked


@pytest.fixture
def run(run_folder, tmp_path):
    return shutil.copytree(run_folder, tmp_path / "shop")


def test_the_report_of_a_run_is_written_anew(gatewise, run, opened):
    before = (run / "report.html").read_bytes()
    (run / "report.html").unlink()
    done = gatewise("report", run)
    assert done.status == 0
    assert done.out == f"{run / 'report.html'}\n"
    assert (run / "report.html").read_bytes() == before
    assert not opened


def test_it_is_shown_in_the_browser(gatewise, run, opened, monkeypatch):
    assert gatewise("report", run, "--open").err == ""
    assert opened == [(run / "report.html").resolve().as_uri()]
    monkeypatch.setattr("webbrowser.open", lambda url: False)
    done = gatewise("report", run, "--open")
    assert done.status == 0
    assert "there is no browser to show it" in done.err


def test_a_table_has_its_typical_values(run):
    summary = json.loads((run / "summary.json").read_text())
    assert [each["expert"] for each in summary["typical"]["experts"]] == [0, 1, 2]
    assert {value["column"] for each in summary["typical"]["experts"] for value in each["values"]} <= {
        "weight", "size", "colour",
    }  # fmt: skip
    assert "What is typical of each expert" in (run / "report.html").read_text()


def test_an_audit_comes_into_the_report(gatewise, run):
    assert "Audit of the gradient" not in (run / "report.html").read_text()
    done = gatewise("audit", run, "--estimators", "enumeration,score-function", "--samples", "1", "--seconds", "0.5")
    assert done.status == 0
    assert "Audit of the gradient estimators" in (run / "report.html").read_text()


def test_several_runs_have_one_page(gatewise, run, tmp_path, monkeypatch, opened):
    assert gatewise("train", "iris", "--out", tmp_path / "iris", *QUICK).status == 0
    monkeypatch.chdir(tmp_path)
    done = gatewise("report", "shop", "iris", "--open")
    assert done.status == 0
    assert done.out == "compared.html\n"
    page = (tmp_path / "compared.html").read_text()
    assert "none is called better here" in page
    assert 'href="iris/report.html"' in page
    assert opened == [(tmp_path / "compared.html").resolve().as_uri()]
    assert gatewise("report", "shop", "iris", "-o", "both.html").out == "both.html\n"
    assert (tmp_path / "both.html").read_text() == page


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("report nowhere", "there is no run folder nowhere"),
        ("report .", "summary.json does not exist"),
        ("report shop shop", "shop is given twice"),
        ("report shop -o page.html", "--output is for several runs"),
        ("report shop nowhere", "there is no run folder nowhere"),
        ("report shop copy -o none/page.html", "cannot write none/page.html"),
        ("report", "RUN"),
    ],
)
def test_bad_input_is_one_line(gatewise, run, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, tmp_path / "copy")
    done = gatewise(*words.split())
    assert done.status == 2
    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("gatewise: ")
    assert said in done.err
