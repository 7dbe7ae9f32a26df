"""What is typical of each expert, as the page shows it."""

from gatewise.reporting import render
from tests.reporting.run.test_page import Page, check, hostile
from tests.reporting.runs import make_images, make_summary, make_values


def shown(**changes) -> Page:
    return check(render(make_summary(**{"experts": 2, "details": None, **changes}), []))


def test_values_stand_with_those_of_all_rows():
    page = shown(typical=make_values(2))
    for piece in (
        "Expert 1, 50.0 % of the gate's weight",
        "age 61.25 40.50 +1.2",
        "job = cook 50.0 % 25.0 % +0.6",
        "income 12,346 23,457 −0.4",
    ):
        assert piece in page.text


def test_what_is_nothing_beside_the_spread_is_no_power_of_ten():
    typical, tiny = make_values(2), {"column": "wind", "value": None}
    small = tiny | {"column": "dose", "mean": 0.0021, "overall": 0.0012, "deviations": 1.5}
    typical["experts"][0]["values"] = [tiny | {"mean": -9.75e-17, "overall": 0.42, "deviations": -0.84}, small]
    text = shown(typical=typical).text
    assert "wind 0.00 0.42 −0.8" in text
    assert "dose 2.10e−03 1.20e−03 +1.5" in text


def test_an_expert_of_which_nothing_stands_out():
    typical = make_values(2)
    typical["experts"][1]["values"] = []
    assert "nothing stands out" in shown(typical=typical).text
    typical["experts"][0]["values"] = []
    assert "Nothing stands out among the rows of any expert." in shown(typical=typical).text


def test_experts_that_are_left_out_are_counted():
    assert "The 2 experts of 70 that have most weight." in shown(experts=70, typical=make_images(2)).text


def test_one_expert_has_nothing_of_its_own():
    assert "typical" not in shown(experts=1, typical=make_images(1)).text


def test_names_are_text_and_nothing_else():
    typical = make_values(2)
    typical["experts"][0]["values"][0] |= {"column": hostile(1), "value": hostile(2)}
    assert shown(typical=typical).text.count("<script>alert(") == 2
    images = make_images(2)
    images["experts"][0]["images"][0] |= {"label": hostile(3), "predicted": '" onload="x"'}
    assert '" onload="x"' in shown(typical=images).text
