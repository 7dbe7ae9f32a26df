"""What a report shows of the files beside its summary, and of a course out of the ordinary."""

import json

import pytest

from gatewise.errors import GatewiseError
from gatewise.reporting import render, write_report
from gatewise.reporting.reading import Beside
from gatewise.reporting.run.sections import course
from gatewise.reporting.schemas.run import parse_summary
from tests.reporting.audit.test_page import audit, exact, row
from tests.reporting.run.test_page import check, hostile
from tests.reporting.runs import make_summary


def light(**changes) -> dict:
    """A summary that is quick to draw."""
    return make_summary(**{"details": None, "typical": None, **changes})


def test_the_audit_has_a_section_and_its_page_a_link():
    rows = [exact(), row(relative_mse=2.3), row(num_samples=2, relative_mse=9.9, own=True), row(relative_mse=8.8)]
    page = check(render(light(), [], Beside(audit=audit(*rows))), ["audit.html"])
    assert page.text.index("Audit of the gradient estimators") < page.text.index("How to repeat it")
    for piece in ("nothing beats the exact sum", "in 4 settings. The model is in inference mode.", "of this run"):
        assert piece in page.text
    svg = next(each for each in page.pictures() if each["aria-label"].startswith("Bias with"))
    assert "of 3 biased" in svg["aria-label"]  # the best of each estimator, and this run's own


def test_the_versions_are_told():
    environment = {"python": "3.11.9", "cuda": None, "threads": 2, "packages": {"torch": "2.13.0", "gatewise": "9"}}
    page = check(render(light(), [], Beside(environment=environment)))
    for piece in ("Versions", "python 3.11.9", "threads 2", "torch 2.13.0"):
        assert piece in page.text
    assert "cuda" not in page.text
    assert "Versions" not in check(render(light(), [])).text


def test_files_beside_are_read_and_a_damaged_one_is_named(write_run):
    run = write_run(light(), [])
    (run / "audit.json").write_text(json.dumps(audit()), encoding="utf-8")
    (run / "environment.json").write_text(
        json.dumps({"python": hostile(1).replace("\ud800", ""), "packages": [1]}), encoding="utf-8"
    )
    text = write_report(run).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "Audit of the gradient estimators" in text
    damaged = audit()
    del damaged["rows"][0]["cosine"]
    for contents, said in ((damaged, "rows.0.cosine"), (audit() | {"rows": []}, "rows"), ([], "the whole")):
        (run / "audit.json").write_text(json.dumps(contents), encoding="utf-8")
        with pytest.raises(GatewiseError, match=rf"audit\.json: {said}: .*; restore the file, or run gatewise audit"):
            write_report(run)


@pytest.mark.parametrize(
    ("config", "reseeded", "said"),
    [
        ({"warm_start": "kmeans", "epochs": 60}, [], "Warm start: for the first 6 epochs each row's expert was given"),
        (
            {"warm_start": "kmeans", "warm_start_epochs": 1},
            [],
            "for the first epoch each row's expert was given",
        ),
        ({"warm_start": "kmeans", "epochs": None}, [], "for the first tenth of the epochs"),
        ({"start_from": "runs/a"}, [], "Training started from the weights of the run runs/a."),
        ({}, [(3, 1, 0)], "A dead expert was re-seeded with a little noise: expert 1 after epoch 3, as a copy of exp"),
        ({}, [(n, 1, 0) for n in range(9)], "9 times a dead expert was re-seeded"),
        ({}, [(n, 1, 0) for n in range(9)], "; and 1 more."),
    ],
)
def test_the_course_is_told_in_words(config, reseeded, said):
    summary = light(reseeded=[dict(zip(("epoch", "expert", "donor"), each, strict=True)) for each in reseeded])
    summary["config"] |= config
    assert said in course(parse_summary(summary, "summary"))


def test_starts_are_told_where_there_were_several():
    told = course(parse_summary(light(starts=[0.7, 0.6125]), "summary"))
    assert told == "The best of 2 starts went on: after a fifth of the epochs their validation NLLs were 0.700, 0.613."
    assert course(parse_summary(light(starts=[]), "summary")) == ""


def test_an_ordinary_course_needs_no_words():
    assert course(parse_summary(light(), "summary")) == ""


def test_the_course_stands_above_the_curves():
    page = check(render(light(reseeded=[{"epoch": 3, "expert": 1, "donor": 0}]), []))
    assert page.text.index("Learning curves") < page.text.index("A dead expert was re-seeded")
