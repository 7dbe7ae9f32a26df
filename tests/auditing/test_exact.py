"""A gradient that is nothing but rounding, and figures at any scale of f."""

import copy
import math

import pytest
import torch
from torch import nn

import gatewise as gw
from tests.chance import seeded


def exclusive_or(point):
    """1 where two bits differ, at points between them too."""
    first, second = point[..., 0, 1], point[..., 1, 1]
    return first + second - 2 * first * second


def of_values(values):
    return lambda point: (point * torch.as_tensor(values, dtype=point.dtype)).sum(-1)


def refusal(f, logits, **options):
    with pytest.raises(gw.GatewiseError, match="exact gradient") as caught:
        gw.audit(f, logits, ["score-function"], num_samples=1, repetitions=200, **options)
    return str(caught.value)


def test_three_identical_experts_have_no_gradient():
    torch.manual_seed(0)
    expert = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    mixture = gw.MixtureOfExperts(nn.Linear(3, 3), [copy.deepcopy(expert) for _ in range(3)])
    data = torch.randn(12, 3, generator=seeded(3)), torch.randint(2, (12,), generator=seeded(4))
    said = refusal(mixture, data)
    assert "the exact gradient is 0" in said
    assert "in every row f is the same for every expert that may be chosen" in said


def test_experts_that_differ_by_the_order_of_a_sum_have_none_either():
    torch.manual_seed(0)
    expert = nn.Sequential(nn.Linear(30, 200), nn.Tanh(), nn.Linear(200, 2))
    turned = copy.deepcopy(expert)
    with torch.no_grad():
        order = torch.randperm(200, generator=seeded(1))
        turned[0].weight.copy_(expert[0].weight[order])
        turned[0].bias.copy_(expert[0].bias[order])
        turned[2].weight.copy_(expert[2].weight[:, order])
    data = torch.randn(12, 30, generator=seeded(3)), torch.randint(2, (12,), generator=seeded(4))
    said = refusal(gw.MixtureOfExperts(nn.Linear(30, 2), [expert, turned]), data)
    assert "is the same for every expert that may be chosen, but for rounding" in said


def test_an_exclusive_or_is_neither_constant_nor_certain():
    said = refusal(exclusive_or, torch.zeros(3, 2, 2), event_dims=1)
    assert "f varies, but its mean stays what it is when the probabilities of any one latent change" in said
    assert "same" not in said
    assert "certain" not in said


@pytest.mark.parametrize(
    ("values", "logits", "why", "not_why"),
    [
        ([2.0, 2.0], [[0.1, 0.4]], "f is the same for every category", "certain"),
        ([1.0, 3.0], [[0.0, -math.inf], [-math.inf, 2.0]], "the choice is certain", "rounding"),
        ([1.0, 3.0], [[900.0, 0.0]], "the choice is certain", "rounding"),
        ([5.0], [[0.3]], "there is one category (K = 1)", "certain"),
        ([0.1 + 0.2, 0.3, 7.0], [[0.1, 0.4, -math.inf]], "f is the same for every category that may", "certain"),
        ([[1.0, 1.0], [1.0, 2.0]], [[0.0, 1.0], [37.0, 0.0]], "the choice is certain, or f is the same", "K = 1"),
        ([1e9, 1e9 + 1e-6], [[0.0, 1.0]], "but for rounding", "certain"),
    ],
)
def test_why_there_is_no_gradient_is_true(values, logits, why, not_why):
    said = refusal(of_values(values), torch.tensor(logits, dtype=torch.float64))
    assert why in said
    assert not_why not in said


def test_parameters_whose_gradient_cancels_are_told_from_logits_that_have_none():
    weight = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    logits = torch.stack([weight * 0.1, weight * 0.1]).expand(4, 2)  # a shift, which no softmax sees
    said = refusal(of_values([1.0, 2.0]), logits, level="parameters", parameters=[weight])
    assert "for the parameters is 0: that for the logits is not" in said


def test_a_gradient_that_is_small_and_no_rounding_is_audited():
    for values, logits in (([1.0, 3.0], [[25.0, 0.0]]), ([1e6, 1e6 + 1e-4], [[0.0, 1.0]])):
        found = gw.audit(
            of_values(values), torch.tensor(logits, dtype=torch.float64), ["score-function", "enumeration"],
            num_samples=1, repetitions=200,
        )  # fmt: skip
        assert found.recommended.estimator == "enumeration"
        assert not any(row.biased for row in found.rows)


CHOICES = ["enumeration", ("score-function", {"baseline": "none"}), "unordered-set", "arsm", "antithetic"]
CHOICES += ["gumbel-softmax", "reinmax", "straight-through", "muprop"]


def figures(dtype, scale, logits):
    found = gw.audit(
        of_values([scale * each for each in (1.0, 3.0, -2.0, 0.5)]), logits.to(dtype), CHOICES, repetitions=200,
        temperatures=(1.0,),
    )  # fmt: skip
    return found, {(row.label, row.num_samples): row for row in found.rows}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_figures_are_the_same_at_any_scale(dtype):
    logits = torch.tensor([0.2, -0.3, 0.1, 0.4])
    right = figures(torch.float64, 1.0, logits)[1]
    for scale in (1e-38, 1e30):
        found, rows = figures(dtype, scale, logits)
        assert not found.skipped
        assert found.recommended.estimator == "enumeration"
        for key, row in rows.items():
            assert row.biased == right[key].biased
            for name in (
                "relative_bias",
                "relative_bias_high",
                "relative_std",
                "relative_mse",
                "relative_mse_rescaled",
            ):
                assert getattr(row, name) == pytest.approx(getattr(right[key], name), rel=1e-3, abs=2e-3), (key, name)


class Nothing(gw.estimators.GradientEstimator):
    """Its gradient is 0, or so large that no square of it is a number."""

    name = "nothing"
    calls = frozenset({"index"})
    reference = "a test"

    def __init__(self, factor=0.0):
        super().__init__()
        self.factor = factor

    def forward(self, integrand, logits, **options):
        index = torch.zeros(1, *logits.shape[:-1], dtype=torch.int64)
        value = integrand.at_index(index)[0] + self.factor * (logits - logits.detach()).sum(-1)
        return gw.expectation.Estimate(value, None, gw.expectation.Info(lambda: torch.ones(logits.shape[:-1]), index))


def test_what_has_no_gradient_is_never_recommended():
    found = gw.audit(of_values([1.0, 3.0]), torch.zeros(2), [Nothing()], repetitions=200)
    assert not found.rows[0].usable
    assert (found.recommended.estimator, found.recommended.num_samples) == (None, None)
    assert "none of the settings that run at most 2 categories gives a gradient to follow" in found.recommended.reason
    assert "There is no estimator to use" in repr(found)
    assert found.to_json()
    noisy = ("score-function", {"baseline": "none"})
    logits = torch.tensor([4.0, 0.0])  # where one estimate of the other is further away than 0 is
    found = gw.audit(of_values([1.0, 3.0]), logits, [Nothing(), noisy], num_samples=1, max_evaluations=1, seconds=2)
    assert found.rows[0].estimator == "nothing"
    assert found.recommended.estimator == "score-function"
    assert found.to_dict()["order"] == [1, 0]


def test_what_has_no_finite_figures_is_left_out_with_the_reason():
    found = gw.audit(of_values([1.0, 3.0]), torch.zeros(2).double(), [Nothing(1e200), "enumeration"], repetitions=200)
    assert [row.estimator for row in found.rows] == ["enumeration"]
    assert "not finite" in found.skipped[0].reason
