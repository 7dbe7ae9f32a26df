"""What an audit recommends, in which words, and what a person reads of it."""

import dataclasses

import pytest
import torch

import gatewise as gw
from gatewise.auditing.recommendation import order, recommend
from gatewise.auditing.row import Row

HONEST = Row(
    estimator="unordered-set", num_samples=2, temperature=None, options={}, unbiased=True,
    relative_bias=0.0, relative_bias_low=0.0, relative_bias_high=0.08, biased=False,
    relative_scale=0.0, relative_scale_low=-0.1, relative_scale_high=0.1, cosine=1.0, relative_std=0.87,
    relative_mse=0.761, relative_mse_low=0.7, relative_mse_high=0.822,
    relative_mse_rescaled=0.43, relative_mse_rescaled_low=0.42, relative_mse_rescaled_high=0.44,
    relative_mse_equal_evaluations=0.38, relative_mse_equal_time=0.3, evaluations=2.0, evaluations_at_most=2, cost=2.0,
    seconds=0.01, repetitions=128,
)  # fmt: skip
BIASED = dataclasses.replace(
    HONEST, estimator="reinmax", temperature=1.2, options={"temperature": 1.2}, num_samples=1, unbiased=False,
    biased=True, relative_bias=0.47, relative_bias_low=0.4, relative_bias_high=0.54, cosine=0.9, relative_std=0.73,
    relative_mse=0.754, relative_mse_low=0.7, relative_mse_high=0.808, relative_mse_equal_evaluations=0.5,
    evaluations=1.0, evaluations_at_most=1,
)  # fmt: skip
SUM = dataclasses.replace(
    HONEST, estimator="enumeration", num_samples=1, relative_mse=0.0, relative_mse_low=0.0, relative_mse_high=0.0,
    relative_std=0.0, relative_mse_equal_evaluations=0.0, evaluations=8.0, evaluations_at_most=8,
)  # fmt: skip


MANY = ["score-function", "gumbel-softmax", "reinmax", "straight-through-gumbel-softmax", "unordered-set", "arsm"]
MANY += ["sum-and-sample"]


def recommended(*rows, most=2):
    return recommend(rows, most, 8, mixture=True)


def test_the_reason_begins_with_the_estimator_its_options_and_samples():
    assert recommended(HONEST).reason.startswith(
        "unordered-set with 2 samples: of the settings that run at most 2 experts"
    )
    assert recommended(BIASED).reason.startswith("reinmax:temperature=1.2: of the settings")
    assert recommended(SUM, most=8).reason.startswith("enumeration: once all 8 experts have run nothing beats")
    theirs = dataclasses.replace(HONEST, estimator="theirs", options={"depth": 3, "sharp": True})
    assert recommended(theirs).reason.startswith("theirs:depth=3:sharp=true with 2 samples: ")


def test_within_the_noise_what_is_unbiased_goes_first():
    found = recommended(BIASED, HONEST)
    assert found.estimator == "unordered-set"
    # √(.054² + .061²) = .0815
    assert (
        "none has an error that is less beyond doubt: a mean square of 0.761 times the gradient's own, with no bias "
        "found (below 8.0%); reinmax:temperature=1.2, with a bias of 47%, has 0.754, 0.007 less (-0.0745 to 0.0885), "
        "which this audit cannot tell from nothing; a bias does not average out"
    ) in found.reason


def test_beyond_the_noise_the_sentence_says_what_the_bias_is_worth():
    worse = dataclasses.replace(HONEST, relative_mse=1.4, relative_mse_high=1.45, relative_std=1.18)
    found = recommended(BIASED, worse)
    assert found.estimator == "reinmax"
    assert "with a bias of 47% of the gradient's length (cosine 0.900)" in found.reason
    assert "the best without bias, unordered-set with 2 samples, has 1.4, 0.646 more (0.572 to 0.72)" in found.reason
    # (1.18² - .73²)/.47² = 3.9
    assert "in the mean of more than 4 estimates it is the nearer" in found.reason


def test_what_claims_to_be_unbiased_and_is_not_has_no_precedence():
    liar = dataclasses.replace(HONEST, biased=True, relative_bias=0.3)
    assert recommended(BIASED, liar).estimator == "reinmax"


def test_where_one_estimate_is_further_than_nothing_it_is_said_what_is_removed():
    noisy = {"relative_mse": 30.0, "relative_mse_low": 29.0, "relative_mse_high": 31.0}
    one = dataclasses.replace(HONEST, **noisy, relative_mse_rescaled=0.97, relative_mse_rescaled_low=0.96)
    two = dataclasses.replace(
        BIASED, **noisy, relative_mse_rescaled=0.965, relative_mse_rescaled_low=0.955, relative_mse_rescaled_high=0.975
    )
    found = recommended(one, two)
    assert found.estimator == "unordered-set"
    assert "at its best step length none removes more beyond doubt: 0.03 of the gradient's square" in found.reason
    assert "removes 0.035, 0.005 more (" in found.reason


@pytest.mark.parametrize("change", [{"relative_scale_high": -1.0}, {"biased": True, "relative_scale_low": -1.2}])
def test_what_gives_no_gradient_to_follow_is_not_recommended(change):
    useless = dataclasses.replace(HONEST, relative_mse=0.1, relative_mse_high=0.1, **change)
    assert recommended(useless, BIASED).estimator == "reinmax"
    assert recommended(useless).estimator is None


def test_the_order_is_that_of_use():
    dear = dataclasses.replace(HONEST, estimator="arsm", evaluations_at_most=8, relative_mse_equal_evaluations=0.1)
    useless = dataclasses.replace(HONEST, relative_scale_high=-1.0, relative_mse_equal_evaluations=0.0)
    assert order([SUM, useless, BIASED, dear, HONEST], 2) == [4, 2, 0, 3, 1]
    assert order([SUM, useless, BIASED, dear, HONEST], 8) == [0, 3, 4, 2, 1]


def test_a_printed_audit_is_a_short_table():
    values = torch.tensor([-3.2, -2.2, -1.9, -2.3, -1.7, -3.0])
    found = gw.audit(
        lambda z: (z * values).sum(-1), torch.zeros(6), MANY, repetitions=128, seconds=0.1, max_evaluations=2,
        own=(("gumbel-softmax", {"temperature": 0.31}), 1),
    )  # fmt: skip
    said = repr(found)
    assert str(found) == said
    lines = said.splitlines()
    assert lines[0].startswith(
        f"Audit of {len(found.rows)} settings against the exact gradient for the logits: 1 example"
    )
    assert len(lines) < 50
    assert max(map(len, lines)) <= 120
    start = lines.index("") + 1
    table = lines[start : lines.index("", start)]
    assert table[0].split() == ["estimator", "S", "λ", "bias", "95", "%", "scale", "error", "runs", "ms"]
    assert 16 <= len(table) <= 18
    assert any(line.startswith("→ gumbel-softmax") for line in table)
    together = " ".join(lines)
    assert f"Use {found.recommended.reason}." in together
    assert "In order of the error of the mean of as many estimates as cost what one exact gradient costs" in together
    assert f"{len(found.rows) - len(table) + 1} more settings: audit.to_frame()." in together
    assert "Row(" not in said
