"""From text to configurations: which combinations there are, and what is refused before anything is trained."""

import re

import pytest

from gatewise import GatewiseError
from gatewise.comparison.combinations import check, combine

from .conftest import quick


def test_every_objective_meets_every_estimator_and_marginal_stands_alone():
    made = combine(quick(), ["enumeration", "reinmax:temperature=2:variant=plain"], ["marginal", "jensen"])
    assert [each.name for each in made] == [
        "marginal",
        "jensen enumeration",
        "jensen reinmax:temperature=2:variant=plain",
    ]
    marginal, _, reinmax = (each.config for each in made)
    assert marginal.objective == "marginal"
    assert (reinmax.objective, reinmax.estimator, reinmax.temperature) == ("jensen", "reinmax", 2)
    assert reinmax.estimator_options == {"variant": "plain"}
    assert reinmax.epochs == 2  # the base's


def test_the_base_gives_what_an_estimator_takes_and_does_not_say_itself():
    base = quick(temperature="0.7", samples=3, estimator="arsm")
    made = combine(base, ["gumbel-softmax", "reinmax:temperature=2:samples=1", "enumeration"], ["jensen", "marginal"])
    told = [(each.config.temperature, each.config.samples) for each in made]
    assert told == [("0.7", 3), (2, 1), (None, 3), (None, None)]
    check(made, features=4)


def test_vimco_meets_its_own_objective_alone():
    base = quick(samples=2, objective_options={"top": 2}, temperature=0.5)
    names = ["jensen", "multi-sample", "stratified", "hard-em", "evidence"]
    made = combine(base, ["vimco:mean=arithmetic", "gumbel-softmax"], names)
    assert [each.name for each in made] == [
        "jensen gumbel-softmax",
        "multi-sample vimco:mean=arithmetic",
        "multi-sample gumbel-softmax",
        "stratified",
        "hard-em",
        "evidence",
    ]
    told = [(each.config.samples, each.config.temperature, each.config.objective_options) for each in made]
    assert told == [
        (2, 0.5, {}),
        (2, None, {}),
        (2, 0.5, {}),
        (2, None, {"top": 2}),
        (None, 0.5, {}),
        (None, None, {}),
    ]
    check(made, features=4)


def test_without_estimators_each_objective_brings_its_own_default():
    made = combine(quick(), None, ["jensen", "multi-sample", "marginal"])
    assert [each.text for each in made] == [
        *("enumeration", "score-function", "gumbel-softmax"),
        *("vimco", "score-function", "gumbel-softmax"),
        "",
    ]
    check(made, features=4)


def test_an_amortised_posterior_takes_estimators():
    base = quick(objective_options={"posterior": "amortised"})
    made = combine(base, ["score-function"], ["evidence", "marginal"])
    assert [each.name for each in made] == ["evidence score-function", "marginal"]
    check(made, features=4)


REFUSED = {
    "vimco without its objective": (["vimco"], ["jensen"], {}, "'vimco' serves the objective multi-sample alone"),
    "an objective left over": (["vimco"], ["jensen", "multi-sample"], {}, "jensen is left without an estimator"),
    "an option of none": (None, ["jensen"], {"objective_options": {"top": 2}}, "takes the option top"),
    "too few for vimco": (["vimco:samples=1"], ["multi-sample"], {}, "write vimco:samples=2"),
    "too many outcomes": (["enumeration:samples=13"], ["multi-sample"], {}, "use vimco, or fewer samples"),
    "unknown objective": (["enumeration"], ["elbo"], {}, "unknown objective 'elbo'"),
    "nothing": ([], ["jensen"], {}, "nothing to compare"),
    "no objective": (["enumeration"], [], {}, "nothing to compare"),
    "an estimator for none": (["enumeration"], ["marginal"], {}, "marginal takes no estimator"),
    "one twice": (["rebar", "rebar"], ["jensen"], {}, "jensen rebar is named twice"),
    "the same in other letters": (
        ["gumbel-softmax:temperature=0.5", "gumbel-softmax:temperature=0.50"],
        ["jensen"],
        {},
        "is named twice",
    ),
    "a base option for none": (["enumeration"], ["jensen"], {"temperature": 0.5}, "takes a temperature"),
    "a base's own options": (["relax"], ["jensen"], {"estimator_options": {"scale": 2.0}}, "after its name"),
    "a value of the wrong kind": (["score-function:samples=x"], ["jensen"], {}, "score-function:samples=x: samples"),
    "an option not taken": (["enumeration:temperature=1"], ["jensen"], {}, "has no option 'temperature'"),
    "too few samples": (
        ["score-function:baseline=leave-one-out"],
        ["jensen"],
        {},
        "write score-function:baseline=leave-one-out:samples=2",
    ),
    "an odd number of samples": (["antithetic:samples=3"], ["jensen"], {}, "write antithetic:samples=2"),
    "a temperature that reaches 0": (["gumbel-softmax:temperature=linear:1:0"], ["jensen"], {}, "positive"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_compared_is_refused_in_one_line(case):
    estimators, objectives, base, said = REFUSED[case]
    with pytest.raises(GatewiseError, match=re.escape(said)) as caught:
        check(combine(quick(**base), estimators, objectives), features=4)
    assert "\n" not in str(caught.value)


def test_folders_are_readable_safe_and_different():
    texts = [
        "enumeration",
        "gumbel-softmax:temperature=linear:1:0.3",
        "implicit-mle:step=../../x",
        "implicit-mle:step=..+..+x",
        "implicit-mle:step=" + "9" * 300,
    ]
    names = [each.folder for each in combine(quick(), texts, ["jensen"])]
    assert names[:2] == ["jensen-enumeration", "jensen-gumbel-softmax_temperature=linear_1_0.3"]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9._=+-]{1,150}", name) for name in names)
