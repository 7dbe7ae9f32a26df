"""The verdict on a comparison, and what could void it: each state has its sentence."""

import pytest

from gatewise.reporting.comparison import doubts, parse_comparison, verdict

from .made_up import make_comparison, make_interval


def told(comparison) -> dict[str, str]:
    """The sentences of the verdict, with their levels."""
    return {finding.text: finding.level for finding in verdict(parse_comparison(comparison, "comparison"))}


def level(comparison, text: str) -> str:
    (found,) = [level for sentence, level in told(comparison).items() if text in sentence]
    return found


def doubt(comparison) -> str:
    return " ".join(doubts(parse_comparison(comparison, "comparison")))


def fail(comparison, name, seed, reason="it broke"):
    """Make one cell a failed one."""
    (cell,) = [cell for cell in comparison["cells"] if (cell["combination"], cell["seed"]) == (name, seed)]
    cell |= {"status": "failed", "reason": reason, "test": None, "validation": None, "epochs": None}
    (row,) = [each for each in comparison["combinations"] if each["name"] == name]
    row |= {"seeds_done": row["seeds_done"] - 1, "seeds_failed": row["seeds_failed"] + 1}


def test_the_best_and_its_interval_are_told():
    text = " ".join(told(make_comparison()))
    assert "3 combinations of objective and estimator, trained on digits (900 rows for training) with 3 seeds" in text
    assert (
        "Best is jensen enumeration: NLL 0.2000 nats an example (95\N{NO-BREAK SPACE}% interval 0.1679 to 0.2321)"
        in text
    )
    assert "right on 91.2\N{NO-BREAK SPACE}% of the test rows" in text


def test_the_seeds_tell_it_from_the_next_where_the_interval_lies_above_0():
    comparison = make_comparison()
    assert level(comparison, "3 seeds tell it from the next, marginal: 0.0500 nats above it") == "good"
    comparison["combinations"][1]["difference"] |= make_interval(0.05, 0.051)
    comparison["combinations"][2]["difference"] |= make_interval(0.1, 0.2)
    assert level(comparison, "3 seeds do not tell it from the next, marginal") == "fact"
    assert level(comparison, "Nor do they tell it from jensen rebar.") == "fact"


def test_one_seed_two_without_a_seed_in_common_and_one_alone():
    assert level(make_comparison(seeds=1), "One seed cannot tell it from the next, marginal, 0.0500") == "bad"
    comparison = make_comparison()
    comparison["combinations"][1]["difference"] = None
    assert level(comparison, "shares no finished seed with the next, marginal") == "bad"
    assert level(make_comparison(["marginal"]), "nothing to compare it with") == "fact"


def test_the_cheaper_of_those_that_are_alike_is_named():
    comparison = make_comparison()
    comparison["combinations"][2] |= {"evaluations": 1}
    assert "fewest experts" not in " ".join(told(comparison))  # it is told apart
    comparison["combinations"][2]["difference"] |= make_interval(0.1, 0.2)
    assert level(comparison, "jensen rebar runs the fewest experts: at most 1 of 8") == "fact"


@pytest.mark.parametrize(
    ("metrics", "text"),
    [
        ({"effective_experts": 1.49}, "The gate collapsed: marginal in 1 of 3 seeds."),
        ({"mutual_information": 0.0099}, "every row the same mixture: marginal in 1 of 3 seeds."),
        ({"dead_experts": 3}, "Experts are dead, first choice on hardly any row: marginal (up to 3 of 8)."),
    ],
)
def test_a_gate_that_does_not_do_its_work_is_told(metrics, text):
    comparison = make_comparison()
    assert level(comparison, "No gate collapsed, and every combination uses all its experts") == "good"
    comparison["cells"][4]["test"] |= metrics
    assert level(comparison, text) == "bad"
    assert "No gate collapsed" not in " ".join(told(comparison))


def test_one_expert_has_no_gate_to_judge():
    comparison = make_comparison()
    for each in comparison["combinations"]:
        each["experts"] = 1
    assert level(comparison, "nothing to choose") == "fact"


def test_nothing_finished():
    comparison = make_comparison(["marginal"], seeds=1, data=None)
    comparison["combinations"][0] |= {"test": None, "validation": None}
    fail(comparison, "marginal", 0)
    assert level(comparison, "No cell was finished") == "bad"
    assert "marginal failed with seed 0: it broke" in doubt(comparison)


def test_nothing_to_doubt():
    assert doubt(make_comparison(seeds=5)) == ""


@pytest.mark.parametrize(
    ("seeds", "text"), [(1, "One seed: no interval"), (2, "rest on 2 numbers"), (4, "on 4 numbers")]
)
def test_few_seeds_are_doubted(seeds, text):
    assert text in doubt(make_comparison(seeds=seeds))


def test_failures_are_doubted_once_a_reason():
    comparison = make_comparison(seeds=5)
    fail(comparison, "marginal", 1)
    fail(comparison, "marginal", 3)
    assert doubt(comparison).startswith(
        "marginal failed with seeds 1 and 3: it broke The means of marginal are over fewer"
    )


def test_few_rows_and_no_test_rows_are_doubted():
    comparison = make_comparison(seeds=5)
    comparison["data"]["test_rows"] = 40
    assert "judged on 40 test rows, where one row more or less right moves the accuracy by 2.5" in doubt(comparison)
    comparison["judged"] = "validation"
    assert "There were no test rows" in doubt(comparison)
    assert "judged on 297 validation rows" in doubt(comparison)


def test_an_end_at_the_limit_of_epochs_is_doubted():
    comparison = make_comparison(seeds=5)
    comparison["cells"][0]["still_improving"] = True
    assert "ended 1 of 15 cells while the last epoch was still the best (jensen enumeration): more" in doubt(comparison)
    for cell in comparison["cells"]:
        cell["still_improving"] = True
    assert "ended 15 of 15 cells while the last epoch was still the best: more" in doubt(comparison)


def test_other_versions_and_other_occasions_are_doubted():
    comparison = make_comparison(seeds=5)
    comparison["cells"][0] |= {"gatewise": "0.0.9", "trained_before": True}
    assert "different versions of gatewise: 0.0.9 and 0.1.0" in doubt(comparison)
    assert "1 of 15 cells were trained earlier" in doubt(comparison)
