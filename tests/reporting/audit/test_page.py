import re

import pytest

from gatewise.auditing.verdict import verdict
from gatewise.reporting.audit import render_audit


def row(**changed):
    made = {
        "estimator": "gumbel-softmax",
        "label": "gumbel-softmax",
        "num_samples": 1,
        "temperature": 0.5,
        "options": {"temperature": 0.5},
        "unbiased": False,
        "relative_bias": 0.121,
        "relative_bias_low": 0.083,
        "relative_bias_high": 0.157,
        "biased": True,
        "relative_scale": -0.1,
        "relative_scale_low": -0.12,
        "relative_scale_high": -0.08,
        "cosine": 0.997,
        "relative_std": 1.5,
        "relative_mse": 2.264,
        "relative_mse_rescaled": 0.7,
        "relative_mse_equal_evaluations": 2.264,
        "relative_mse_equal_time": 1.9,
        "evaluations": 8.0,
        "evaluations_at_most": 8,
        "cost": 8.0,
        "seconds": 0.0123,
        "repetitions": 1234,
        "own": False,
    }
    return made | changed


def exact(**changed):
    same = {"relative_bias": 0.0, "relative_bias_low": 0.0, "relative_bias_high": 0.0, "biased": False}
    same |= {"relative_std": 0.0, "relative_mse": 0.0, "unbiased": True, "temperature": None, "options": {}}
    return row(estimator="enumeration", label="enumeration", **same) | changed


def audit(*rows, **changed):
    best = {"estimator": "enumeration", "num_samples": 1, "options": {}, "reason": "nothing beats the exact sum"}
    few = {
        "evaluations": 2,
        "row": 0,
        **best,
        "estimator": "score-function",
        "num_samples": 2,
        "options": {"baseline": "none"},
    }
    made = {
        "rows": list(rows) or [exact(), row()],
        "recommended": best,
        "by_evaluations": [few, {"evaluations": 8, "row": 0, **best}],
        "skipped": [],
        "notes": ["the model is in inference mode"],
        "level": "logits",
        "examples": 512,
        "num_categories": 8,
        "size": 4096,
        "mixture": True,
        "max_evaluations": 8,
        "precision": 0.02,
        "seed": 0,
        "seconds": 12.0,
        "name": "digits, after epoch 3",
        "gatewise": "0.1.0",
        "command": "gatewise audit runs/digits",
    }
    return made | changed


def test_the_verdict_stands_first_then_what_could_void_it_then_the_command():
    page = render_audit(audit())
    places = [
        page.index(text)
        for text in (
            "nothing beats the exact sum",
            "What could void it",
            "The model is in inference mode",
            "How to repeat it",
            "gatewise audit runs/digits",
            "Bias, variance and cost",
            "All settings",
        )
    ]
    assert places == sorted(places)


def test_the_numbers_stand_in_the_table():
    text = re.sub(r"[ \n]+", " ", render_audit(audit()))
    for number in ("12.1\xa0% (8.3\xa0% – 15.7\xa0%)", "0.900", "0.997", "2.264", "1.900", "8.00", "12.30"):
        assert f"<td>{number}</td>" in text
    assert "biased, 1,234 repetitions" in text


def test_the_estimator_of_the_run_is_judged():
    (finding,) = [each for each in verdict(audit(row(own=True))) if "of this run" in each.text]
    assert finding.level == "bad"
    assert "biased by 8.3\xa0% to 15.7\xa0%" in finding.text
    (finding,) = [each for each in verdict(audit(exact(own=True))) if "of this run" in each.text]
    assert finding.level == "good"


def test_a_reversed_gradient_is_called_so():
    away = row(relative_scale=-1.4, relative_scale_low=-1.5, relative_scale_high=-1.3, cosine=-0.46)
    assert any(each.level == "bad" and "away from the gradient" in each.text for each in verdict(audit(away)))
    unsure = row(relative_scale=-1.1, relative_scale_low=-1.5, relative_scale_high=-0.7)
    assert not any("away from the gradient" in each.text for each in verdict(audit(unsure)))


def test_fewer_evaluations_have_their_own_advice():
    said = "With at most 2 experts an example: score-function:baseline=none with 2 samples"
    assert f"{said}." in [each.text for each in verdict(audit())]
    warned = f"{said} (biased by 12.1\xa0% of the gradient's length, cosine 1.00)."
    assert warned in [each.text for each in verdict(audit(row()))]


def test_hostile_names_are_escaped():
    hostile = "<script>alert(1)</script>"
    bad = row(estimator=hostile, label=hostile, options={"baseline": hostile})
    page = render_audit(audit(bad, name=hostile, skipped=[{"estimator": hostile, "reason": hostile}], command=hostile))
    assert "<script" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("count", [1, 90])
def test_one_setting_and_very_many_can_be_drawn(count):
    many = [row(label=f"estimator-{number}", relative_mse=number + 2.3) for number in range(count)]
    page = render_audit(audit(*many))
    assert page.count("<svg") == 3
    assert ("The 60 with the least error of 90" in page) == (count == 90)


def test_nothing_but_exact_settings_can_be_drawn():
    assert render_audit(audit(exact())).count("<svg") == 3
