"""A complete estimator of a third party, and the one call that tests it."""

import pytest
import torch

import gatewise as gw
from gatewise.estimators import GradientEstimator, PointEstimator
from gatewise.testing import CHECKS, check_gradient_estimator, independent_draws


class MeanOfOthers(GradientEstimator):
    """(f(D) - b) ∇log π_D with b the mean over the other draws: nothing but the public interface."""

    name = "mean-of-others"
    calls = frozenset({"index"})
    unbiased = frozenset({"value", "logits", "parameters"})
    sample_counts = range(2, 9)
    reference = "this page, after Kool et al. 2019"

    def forward(self, integrand, logits, *, num_samples=2, event_dims=0, generator=None, context=None):
        index = self.draw_index(logits, num_samples, generator)
        values = integrand.at_index(index)
        log_probs = logits.log_softmax(-1).expand(*index.shape, logits.shape[-1])
        log_prob = log_probs.gather(-1, index.unsqueeze(-1)).squeeze(-1)
        if event_dims:
            log_prob = log_prob.sum(-1)
        seen = values.detach()
        others = (seen.sum(0) - seen) / (num_samples - 1)
        gradient = ((seen - others) * (log_prob - log_prob.detach()).to(values.dtype)).mean(0)
        asked = gw.expectation.first_asked(index, event_dims)[0]
        return gw.Estimate(values.mean(0) + gradient, None, gw.Info(asked.sum(0), index=index))


class Lifted(PointEstimator):
    """A draw forward, half of the softmax's derivative backward, for two latents as for one."""

    name = "lifted"
    unbiased = frozenset({"value", "parameters"})
    reference = "this page, to be biased"

    def draw(self, logits, num_samples, generator=None):
        noisy = gw.noise.perturbed(logits, num_samples, generator)
        corner = torch.zeros_like(noisy).scatter(-1, noisy.argmax(-1, keepdim=True), 1.0)
        half = logits.to(noisy.dtype).softmax(-1) / 2
        return (corner + half - half.detach()).to(logits.dtype)


@pytest.mark.parametrize("num_categories", [2, 5, 7])
def test_it_passes_by_enumeration(num_categories):
    check_gradient_estimator(MeanOfOthers(), outcomes=independent_draws, num_categories=num_categories)


@pytest.mark.parametrize("make", [MeanOfOthers, Lifted])
def test_it_passes_by_its_means(make):
    check_gradient_estimator(make())


def test_the_estimator_given_and_torchs_generator_are_left_as_they_were():
    estimator = gw.estimators.get("score-function", baseline="learned")
    before = {name: tensor.clone() for name, tensor in estimator.state_dict().items()}
    state = torch.get_rng_state()
    check_gradient_estimator(estimator, outcomes=independent_draws)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(estimator.state_dict(), before)
    assert "draw_index" not in vars(estimator)


def test_one_category_is_refused():
    with pytest.raises(gw.GatewiseError, match=r"num_categories must be at least 2 .* got 1"):
        check_gradient_estimator(MeanOfOthers(), num_categories=1)


def test_every_check_says_what_is_promised():
    assert len({str(check) for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert check.function.__doc__
        assert check.only
