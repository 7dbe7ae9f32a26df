"""Schedules: values at the ends and the middle, and what text means."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gatewise as gw
from gatewise.schedules import Constant, Cosine, Exponential, Linear, Step, as_schedule


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.5", (0.5, 0.5, 0.5)),
        ("constant:0.5", (0.5, 0.5, 0.5)),
        ("linear:1:0.2", (1.0, 0.6, 0.2)),
        ("linear:0:2", (0.0, 1.0, 2.0)),
        ("cosine:1:0", (1.0, 0.5, 0.0)),
        ("exponential:1:0.01", (1.0, 0.1, 0.01)),
        ("step:3:2:1", (3.0, 2.0, 1.0)),
        ("step:7", (7.0, 7.0, 7.0)),
        (" -2e-1 ", (-0.2, -0.2, -0.2)),
    ],
)
def test_values_at_start_middle_and_end(text, values):
    schedule = as_schedule(text)
    assert [schedule(progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx(values)


def test_cosine_is_flat_at_both_ends():
    schedule = Cosine(1.0, 0.0)
    assert schedule(0.01) > 0.999
    assert schedule(0.99) < 0.001
    assert schedule(0.25) == pytest.approx(0.5 + math.sqrt(0.125))


def test_steps_are_equal_parts():
    schedule = Step((4.0, 3.0, 2.0, 1.0))
    assert [schedule(p) for p in (0, 0.24, 0.25, 0.49, 0.5, 0.74, 0.75, 1)] == [4, 4, 3, 3, 2, 2, 1, 1]


@given(st.floats(0.01, 10), st.floats(0.01, 10), st.floats(0, 1))
def test_every_kind_stays_between_its_ends(start, end, progress):
    low, high = min(start, end), max(start, end)
    for kind in (Linear, Cosine, Exponential):
        assert low - 1e-9 <= kind(start, end)(progress) <= high + 1e-9


@given(st.floats(0.01, 10), st.floats(0.01, 10))
def test_exponential_has_equal_ratios(start, end):
    schedule = Exponential(start, end)
    assert schedule(0.5) / schedule(0.25) == pytest.approx(schedule(0.75) / schedule(0.5))


def test_numbers_and_schedules_are_taken():
    assert as_schedule(2)(0.3) == 2.0
    assert as_schedule(0.25) == Constant(0.25)
    own = Linear(1, 0)
    assert as_schedule(own) is own
    assert as_schedule(math.sin) is math.sin


@pytest.mark.parametrize(
    "text",
    ["", "fast", "linear", "linear:1", "linear:1:2:3", "linear:1:x", "cubic:1:2", "nan", "linear:1:inf", "1:2", ":"],
)
def test_text_that_is_no_schedule_is_refused_with_the_forms(text):
    with pytest.raises(gw.GatewiseError, match=r"is not a schedule; give a number, linear:FROM:TO") as refusal:
        as_schedule(text)
    assert repr(text) in str(refusal.value)


@pytest.mark.parametrize("text", ["exponential:1:0", "exponential:-1:1"])
def test_an_exponential_needs_positive_ends(text):
    with pytest.raises(gw.GatewiseError, match=r"two positive ends.*use linear"):
        as_schedule(text)


def test_steps_need_a_value():
    with pytest.raises(gw.GatewiseError, match="at least one value"):
        Step(())
