"""Categories so rare that draws as they come hold none of them."""

import math

import pytest
import torch

import gatewise as gw
from gatewise.auditing.importance_sampling import PLAIN, ImportanceGenerator
from gatewise.estimators import GradientEstimator, ScoreFunction
from gatewise.expectation import Estimate, Info
from gatewise.noise import categorical, exponential, without_replacement
from tests.chance import ALPHA, SampleMoments, mean_p, seeded

PROBS = torch.tensor([1 - 1e-4, 1e-4], dtype=torch.float64)
LOGITS = PROBS.log().unsqueeze(0)
VALUES = torch.tensor([1.0, 3.0], dtype=torch.float64)


def f(point):
    return (point * VALUES).sum(-1)


def audited(*estimators, seed=0, **options):
    return gw.audit(f, LOGITS, list(estimators), num_samples=1, seed=seed, **options).rows


class Theirs(GradientEstimator):
    """The score function, with draws that nothing of ours made; `factor` plants a bias."""

    name = "theirs"
    calls = frozenset({"index"})
    unbiased = frozenset({"value", "logits", "parameters"})
    reference = "a test"
    factor = 1.0
    greedy = False

    def forward(self, integrand, logits, *, num_samples=1, event_dims=0, generator=None, context=None):
        probs = logits.detach().softmax(-1)
        drawn = torch.multinomial(probs.flatten(0, -2), num_samples, replacement=True, generator=generator)
        index = drawn.T.view(num_samples, *logits.shape[:-1])
        index = probs.argmax(-1).expand_as(index) if self.greedy else index
        values = integrand.at_index(index)
        chosen = logits.log_softmax(-1).expand(*index.shape, -1).gather(-1, index.unsqueeze(-1)).squeeze(-1)
        value = values + self.factor * values.detach() * (chosen - chosen.detach())
        return Estimate(value.mean(0), None, Info(lambda: torch.ones(logits.shape[:-1]).long(), index=index))


class Greedy(Theirs):
    name = "greedy"
    greedy = True


class Stretched(ScoreFunction):
    name = "stretched"

    def forward(self, integrand, logits, **options):
        return super().forward(integrand, 1.5 * logits - 0.5 * logits.detach(), **options)


def test_unbiased_estimators_are_not_called_biased_where_a_category_is_rare():
    """20 audits of 5 estimators at π = 1e-4: at a rate of 1 % more than 8 of 100 have a probability below 1e-5."""
    called = left_out = 0
    for seed in range(20):
        choices = [("score-function", {"baseline": "none"}), "unordered-set", "arsm", "sum-and-sample", Theirs()]
        for row in audited(*choices, seed=seed, repetitions=512):
            called += row.biased
            left_out += not row.relative_bias_low <= 0 <= row.relative_bias_high
    assert called <= 8, called
    assert left_out <= 15, left_out  # at 5 % more have a probability of 4e-5


def test_spread_and_error_are_those_of_draws_as_they_come():
    (row,) = audited(("score-function", {"baseline": "none"}), repetitions=40_000)
    scores = torch.eye(2, dtype=torch.float64) - PROBS
    exact = PROBS @ (VALUES.unsqueeze(1) * scores)
    square = float(PROBS @ (VALUES.unsqueeze(1) * scores).square().sum(1))
    variance = (square - float(exact.square().sum())) / float(exact.square().sum())
    assert row.weighed
    assert row.relative_std**2 == pytest.approx(variance, rel=0.05)
    assert row.relative_mse == pytest.approx(variance, rel=0.05)
    assert row.relative_bias_high < 0.1


def test_for_parameters_too_which_rows_share():
    gate = torch.tensor([0.3, -0.2], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([[1.0, 0.5], [-0.4, 2.0]], dtype=torch.float64)
    spread = torch.tensor([9.0, 7.0], dtype=torch.float64)
    logits = torch.stack([x @ gate + spread, -(x @ gate)], -1)
    found = gw.audit(
        f, logits, [("score-function", {"baseline": "none"})], num_samples=1, level="parameters", parameters=[gate],
        repetitions=40_000,
    )  # fmt: skip
    probs = logits.detach().softmax(-1)
    # the score of the gate at each category of each row is (e_z - π) pulled: x (1, -1)·(e_z - π)
    scores = (torch.eye(2, dtype=torch.float64) - probs.unsqueeze(1)) @ torch.tensor([1.0, -1.0], dtype=torch.float64)
    each = (VALUES * scores).unsqueeze(-1) * x.unsqueeze(1)  # [row, z, parameter]
    means = (probs.unsqueeze(-1) * each).sum(1)
    variance = float((probs * each.square().sum(-1)).sum() - means.square().sum())
    assert found.rows[0].weighed
    assert found.rows[0].relative_std ** 2 == pytest.approx(variance / float(means.sum(0).square().sum()), rel=0.05)


def test_what_draws_for_itself_is_told_what_its_draws_cannot_tell():
    (row,) = audited(Theirs(), repetitions=1000, seed=1)
    assert not row.biased
    assert row.unseen_probability == pytest.approx(1e-4)
    assert row.caution.startswith("no draw chose category 1 of example 0, of probability 0.0001, in 1,000 repetitions")
    assert f"a bias below {row.relative_bias_high:.0%} cannot be excluded" in row.caution
    assert row.relative_bias_high > 1
    # its error is known from what it does with what it draws
    assert row.relative_mse == pytest.approx(9 / 4 / 1e-4, rel=0.3)
    notes = gw.audit(f, LOGITS, [Theirs()], num_samples=1, repetitions=1000, seed=1).notes
    assert any(note.startswith("Of theirs the draws do not tell enough: no draw chose category 1") for note in notes)


def test_where_nothing_is_rare_nothing_is_said():
    (row,) = gw.audit(f, torch.zeros(1, 2), [Theirs()], num_samples=1, repetitions=200).rows
    assert (row.weighed, row.unseen_probability, row.caution) == (False, 0.0, None)


def test_a_bias_at_a_rare_category_is_found():
    (row,) = audited(Stretched(baseline="none"), repetitions=4096)
    assert row.weighed
    assert row.biased
    assert row.relative_bias_low < 0.5 < row.relative_bias_high
    (row,) = audited(Greedy(), repetitions=400_000)  # 40 draws of the rare category are missing
    assert row.biased


@pytest.mark.parametrize(
    ("what", "right"),
    [
        ("categorical", 1e-4),
        ("without replacement", 1e-4),
        ("small", 1e-4),
        ("large", math.exp(-9)),
    ],
)
def test_weights_make_up_for_what_is_changed(what, right):
    """By a z-test with false alarm 1e-9; a mean that is off by 10 % is found with certainty."""
    count = 200_000
    logits = LOGITS.expand(count, 1, 2)
    generator = ImportanceGenerator(logits.device).manual_seed(3)
    generator.shares = PROBS.unsqueeze(0) * VALUES
    generator.start(count)
    if what == "categorical":
        happened = categorical(logits, 1, generator)[0] == 1
    elif what == "without replacement":
        happened = without_replacement(logits, 1, generator)[0] == 1
    else:
        noise = exponential((1, *logits.shape), logits, generator)[0, ..., 0]
        happened = noise < 1e-4 if what == "small" else noise > 9
    weights = generator.weights()
    assert weights.max() <= 1 / PLAIN + 1e-9
    found = (weights * happened).flatten()
    for samples, mean in ((weights.flatten(), 1.0), (found, right)):
        assert mean_p(SampleMoments.of(samples.unsqueeze(1)), torch.tensor([mean])) > ALPHA
    assert found.std() / count**0.5 < 0.03 * right


def test_noise_of_another_shape_is_left_alone():
    generator = ImportanceGenerator(torch.device("cpu")).manual_seed(0)
    generator.shares = PROBS.unsqueeze(0)
    generator.start(10)
    exponential((1, 5, 2), torch.zeros(5, 2), generator)
    assert generator.weights() is None


def test_a_shared_source_of_plain_noise_is_not_changed():
    torch_own, ours = seeded(4), ImportanceGenerator(torch.device("cpu")).manual_seed(4)
    logits = LOGITS.expand(3000, 1, 2)
    assert torch.equal(
        exponential((1, *logits.shape), logits, torch_own), exponential((1, *logits.shape), logits, ours)
    )
