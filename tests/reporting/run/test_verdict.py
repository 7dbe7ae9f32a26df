"""The verdict says, in words, each state that the numbers can be in."""

import pytest

from gatewise.reporting.run.verdict import verdict
from gatewise.reporting.schemas.run import parse_summary
from gatewise.wording import Finding
from tests.reporting.runs import make_label_summary, make_metrics, make_summary


def findings(experts: int = 8, changes: dict | None = None, **metrics: object) -> list[Finding]:
    summary = make_summary(experts, test=make_metrics(experts, **{"rows": 360, **metrics}), **(changes or {}))
    return verdict(parse_summary(summary, "summary"))


def level(found: list[Finding], text: str) -> str:
    """The level of the one sentence that holds the text."""
    (finding,) = [finding for finding in found if text in finding.text]
    return finding.level


def said(found: list[Finding]) -> str:
    return " ".join(finding.text for finding in found)


def test_a_good_run_has_no_bad_news():
    found = findings()
    assert {finding.level for finding in found} == {"good", "fact"}
    first = found[0].text
    for piece in ("8 experts", "84,312 parameters", "digits", "1,257 rows", "10 classes", "score-function", "epoch 47"):
        assert piece in first
    assert "at most 2 of its 8 experts" in first
    assert "On 360 test rows it is right on 95.6\N{NO-BREAK SPACE}%, and its NLL is 0.165" in said(found)


def test_what_was_read_and_left_out_is_told():
    data = make_summary()["data"] | {"readings": ["Read as numbers: 'x' (in %)."], "left_out": "Left out 3 rows."}
    found = findings(changes={"data": data})
    assert level(found, "Read as numbers: 'x' (in %).") == level(found, "Left out 3 rows.") == "fact"


@pytest.mark.parametrize(
    ("metrics", "text", "expected"),
    [
        ({"dead_experts": 0}, "All 8 experts are in use", "good"),
        ({"dead_experts": 1}, "1 of 8 experts is dead", "bad"),
        ({"dead_experts": 3}, "3 of 8 experts are dead", "bad"),
        ({"effective_experts": 1.49}, "has collapsed", "bad"),
        ({"effective_experts": 1.5}, "has not collapsed, but it is narrow", "fact"),
        ({"effective_experts": 4.0}, "has not collapsed: over all rows", "good"),
        ({"mutual_information": 0.0099}, "stopped choosing", "bad"),
        ({"mutual_information": 0.01}, "The gate chooses", "good"),
        ({"nll": 0.2, "nll_top1": 0.205}, "as good as the mixture", "good"),
        ({"nll": 0.2, "nll_top1": 0.25}, "worse than the mixture by 0.050", "fact"),
        ({"nll": 0.2, "nll_top1": 0.15}, "better than the mixture by 0.050", "fact"),
        ({"bound_gap": 0.099}, "is tight", "good"),
        ({"bound_gap": 0.1}, "that was trained is loose", "bad"),
        ({"nll": 2.5}, "worse than an even guess", "bad"),
        ({"accuracy": 0.05}, "worth nothing", "bad"),
        ({"nll": float("nan")}, "not a finite number", "bad"),
        ({"accuracy": None}, "not a finite number", "bad"),
    ],
)
def test_each_state_has_its_sentence(metrics, text, expected):
    assert level(findings(**metrics), text) == expected


def test_a_loose_bound_is_no_fault_of_a_run_that_did_not_train_it():
    model = {**make_summary()["model"], "objective": "marginal", "estimator": None, "evaluations": 8}
    found = findings(changes={"model": model}, bound_gap=0.5)
    assert level(found, "is loose") == "fact"
    assert "objective marginal, running all of its 8 experts" in found[0].text


def test_measures_that_are_missing_are_left_out():
    missing = dict.fromkeys(("dead_experts", "effective_experts", "mutual_information", "nll_top1", "bound_gap"))
    found = said(findings(**missing))
    assert not any(word in found for word in ("in use", "dead", "collapsed", "chooses", "Top-1", "bound"))


def test_one_expert_has_no_gate_to_judge():
    found = said(findings(experts=1, effective_experts=1.0, mutual_information=0.0))
    assert found.startswith("A single expert")
    assert "nothing to choose" in found
    assert not any(word in found for word in ("collapsed", "stopped", "dead", "Top-1"))


def test_no_test_rows_and_an_interruption_are_told():
    found = verdict(parse_summary(make_summary(test=None, interrupted=True), "summary"))
    assert "On 180 validation rows" in said(found)
    assert level(found, "no test rows") == "fact"
    assert level(found, "interrupted") == "bad"


def test_the_most_frequent_class_is_told_only_of_the_same_rows():
    assert "most frequent class" in said(findings())
    assert "most frequent class" not in said(findings(rows=361))
    assert "most frequent class" not in said(findings(changes={"details": None}))


def test_labels_that_are_told_worse_than_always_the_same_are_bad_news():
    worse = make_label_summary()
    worse["test"]["accuracy"] = 0.79  # always the more frequent value: 80 %
    for summary, expected in ((make_label_summary(), "fact"), (worse, "bad")):
        assert level(verdict(parse_summary(summary, "summary")), "its more frequent value") == expected


def test_classes_that_are_never_the_answer_are_named():
    classes = [
        {"name": "gold", "rows": 3, "recall": 0.0, "precision": None},
        {"name": "iron", "rows": 0, "recall": None, "precision": None},
        {"name": "lead", "rows": 90, "recall": 1.0, "precision": 0.97},
    ]
    found = findings(classes=classes)
    assert level(found, "Never given as an answer, of 3 classes: gold (3 rows); --class-weight balanced") == "bad"
    assert "Never given" not in said(findings(classes=classes[1:]))
