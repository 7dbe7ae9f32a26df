"""From files to file: written whole, and refused in one line."""

import json

import pytest

from gatewise.errors import GatewiseError
from gatewise.reporting import render, write_report
from tests.reporting.runs import make_history, make_summary


def test_the_report_is_written_beside_the_files_it_shows(write_run):
    summary, history = make_summary(details=None), make_history(3)
    run = write_run(summary, history)
    path = write_report(run)
    assert path == run / "report.html"
    assert path.read_text(encoding="utf-8") == render(summary, history)
    assert sorted(file.name for file in run.iterdir()) == ["metrics.jsonl", "report.html", "summary.json"]


def test_text_that_utf8_cannot_hold_is_shown_and_refused_in_a_file(write_run):
    summary = make_summary()
    summary["data"]["classes"][0] = "\ud800"  # json.dumps writes it as an escape, and json.loads reads it back
    assert "\N{REPLACEMENT CHARACTER}" in render(summary, [])
    with pytest.raises(GatewiseError, match=r"summary\.json is not valid JSON: .* half of a surrogate pair"):
        write_report(write_run(summary, []))


@pytest.mark.parametrize("name", ["summary.json", "metrics.jsonl"])
@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (None, "does not exist; give the folder of a run"),
        (b'{"epoch": 1', "is not valid JSON"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"[1]", "restore the file"),
        (b"[" * 100_000, "is not valid JSON"),
    ],
)
def test_a_bad_file_is_refused_and_the_old_report_stays(write_run, name, contents, message):
    run = write_run(history=[{"epoch": 1}])
    (run / "report.html").write_text("old", encoding="utf-8")
    (run / name).unlink()
    if contents is not None:
        (run / name).write_bytes(contents)
    with pytest.raises(GatewiseError, match=message) as caught:
        write_report(run)
    assert str(run / name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (run / "report.html").read_text(encoding="utf-8") == "old"


def test_a_bad_line_is_named(write_run):
    run = write_run()
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"epoch": 61, "tr')
    with pytest.raises(GatewiseError, match=r"metrics\.jsonl: line 61 is not valid JSON"):
        write_report(run)


def test_a_report_that_cannot_be_written_is_told_and_leaves_nothing(write_run):
    run = write_run(history=[])
    (run / "report.html").mkdir()
    with pytest.raises(GatewiseError, match="cannot write"):
        write_report(run)
    assert json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert len(list(run.iterdir())) == 3
