import pytest

from gatewise.wording import NONE, measure, number


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, NONE),
        (0.0, "0.000"),
        (0.0042, "4.20e−03"),
        (0.1234, "0.123"),
        (-12.346, "−12.35"),
        (396.167, "396.2"),
        (1692.05, "1,692"),
        (2.5e6, "2.50e+06"),
    ],
)
def test_a_measure_has_about_four_figures(value, said):
    assert measure(value) == said


def test_what_is_rounded_to_nothing_has_no_sign():
    assert number(-1e-17, 2) == "0.00"
    assert number(-0.006, 2) == "−0.01"
    assert number(-20.0, 0) == "−20"
