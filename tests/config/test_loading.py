"""An estimator with its options, as it is written on the command line."""

import re

import pytest

from gatewise import GatewiseError
from gatewise.config.loading import parse_estimator
from gatewise.estimators import estimator_text


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("enumeration", "enumeration", {}),
        (" gumbel-softmax:temperature=0.5 ", "gumbel-softmax", {"temperature": 0.5}),
        (
            "gumbel-softmax:temperature=exponential:1:0.3:samples=2",
            "gumbel-softmax",
            {"temperature": "exponential:1:0.3", "samples": 2},
        ),
        (
            "score-function:baseline=leave-one-out:samples=4",
            "score-function",
            {"baseline": "leave-one-out", "samples": 4},
        ),
        ("relax:learn_temperature=false", "relax", {"learn_temperature": False}),
    ],
)
def test_options_stand_after_colons(text, name, options):
    assert parse_estimator(text) == (name, options)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gumble-softmax", "did you mean 'gumbel-softmax'"),
        ("samples=2", "options follow their estimator after a colon"),
        ("gumbel-softmax:0.5", "'0.5' is no KEY=VALUE"),
        ("gumbel-softmax:=0.5", "'=0.5' is no KEY=VALUE"),
        ("gumbel-softmax:temperature=", "temperature has no value"),
        ("gumbel-softmax:temperature=1:temperature=2", "temperature is given twice"),
    ],
)
def test_text_of_another_form_is_refused(text, said):
    with pytest.raises(GatewiseError, match=re.escape(said)):
        parse_estimator(text)


def test_the_text_is_read_back():
    options = {"temperature": "linear:1:0.3", "learn_temperature": False, "samples": 2, "scale": 0.5}
    assert parse_estimator(estimator_text("relax", options)) == ("relax", options)
