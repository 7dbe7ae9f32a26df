"""The statistical checks have the power that they state."""

import torch

from gatewise.estimators import ScoreFunction
from gatewise.testing import ALPHA, SampleMoments, Subject, exact, mean_p, smallest_caught, toy_logits
from gatewise.testing.checks.sampling import BATCH, BIAS, QUANTITIES, _enough

LOGITS = toy_logits(5)


def moments(estimator, num_samples):
    right = dict(zip(QUANTITIES, (part.flatten() for part in exact(LOGITS)), strict=True))
    return _enough(Subject(estimator), LOGITS, num_samples, right), right


def shifted(sample: SampleMoments, by) -> SampleMoments:
    """The moments of the same samples with `by` added to each."""
    total = sample.total + sample.number * by
    mixed = torch.outer(sample.total, by)
    products = sample.products + mixed + mixed.T + sample.number * torch.outer(by, by)
    return SampleMoments(sample.number, total, products)


def test_a_planted_bias_of_two_percent_is_caught():
    found, right = moments(ScoreFunction("leave-one-out"), 2)
    for quantity, sound in found.items():
        assert mean_p(sound, right[quantity]) > ALPHA
        assert smallest_caught(sound, right[quantity]) < BIAS
        assert mean_p(shifted(sound, BIAS * right[quantity]), right[quantity]) < ALPHA


def test_more_is_drawn_where_the_variance_is_higher():
    calm, wild = (moments(estimator, 2)[0]["logits"] for estimator in (ScoreFunction("leave-one-out"), Wild("none")))
    assert calm.number < wild.number
    assert calm.number % BATCH == 0


class Wild(ScoreFunction):
    """Adds noise of mean 0 to the value, to which a score without a baseline gives a high variance."""

    name = "wild"

    def forward(self, integrand, logits, **arguments):
        class Noisy:
            def at_index(self, index):
                return integrand.at_index(index) + 2 * torch.randn(index.shape)

        return super().forward(Noisy(), logits, **arguments)
