"""The stratified bound: exact where its top experts have all the mass, unbiased inside, and its own gradient."""

import itertools

import pytest
import torch

import gatewise as gw
from gatewise.objectives import Jensen, Stratified
from tests.chance import seeded
from tests.mixture.models import EXPERTS, ROWS, bank_mixture, data

from .cases import expected, masked_mixture


def test_it_rises_with_k_from_above_jensen_to_the_marginal_and_meets_it_at_k_experts():
    mixture, (x, y) = bank_mixture(), data()
    for row in range(ROWS):
        one = x[row : row + 1], y[row : row + 1]
        marginal = mixture.log_prob(*one).item()
        gaps = [marginal - expected(Stratified(k), mixture, *one)[0].item() for k in range(1, EXPERTS + 1)]
        jensen = marginal - Jensen()(mixture.observe(*one)).value.item()
        for higher, lower in itertools.pairwise([jensen, *gaps[:-1]]):
            assert higher > lower
        assert abs(gaps[-2]) < 1e-12  # a rest of one expert is no chance
        assert abs(gaps[-1]) < 1e-12


@pytest.mark.parametrize("top", [EXPERTS, EXPERTS + 1, 1000])
def test_with_every_expert_on_top_it_is_the_marginal_with_its_gradient(top):
    mixture = bank_mixture()
    parameters = list(mixture.parameters())
    estimate = Stratified(top, 3)(mixture.observe(*data()))
    marginal = mixture.log_prob(*data())
    torch.testing.assert_close(estimate.value, marginal, rtol=0, atol=1e-12)
    assert (estimate.info.evaluations == EXPERTS).all()
    for found, right in zip(
        torch.autograd.grad(estimate.value.sum(), parameters),
        torch.autograd.grad(marginal.sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(found, right, rtol=0, atol=1e-12)


def test_a_rest_without_mass_adds_nothing():
    mixture = masked_mixture([0, 2, 4])
    estimate = Stratified(2, 2)(mixture.observe(*data()))
    torch.testing.assert_close(estimate.value, mixture.log_prob(*data()))
    assert (estimate.info.index[2:] == -1).all()
    assert (estimate.info.evaluations == 2).all()


def test_what_is_inside_is_unbiased_for_the_likelihood():
    """By all draws from the rest, m = 1, at one row."""
    mixture, (x, y) = bank_mixture(), (part[:1] for part in data())
    objective = Stratified(2)
    order = mixture.gate(x)[0].argsort(descending=True)
    rest = order[2:]
    objective.draw_index = lambda *_: rest.unsqueeze(0)
    values = objective(mixture.observe(x.expand(3, -1), y.expand(3))).value
    probability = mixture.gate_proba(x)[0, rest]
    likelihood = (probability / probability.sum() * values.exp()).sum()
    torch.testing.assert_close(likelihood.log(), mixture.log_prob(x, y)[0])
    assert values.max() > mixture.log_prob(x, y)  # so one draw may exceed it


def test_draws_come_from_outside_of_the_top():
    estimate = Stratified(2, 4)(bank_mixture().observe(*data()), generator=seeded(1))
    top = bank_mixture().gate(data()[0]).topk(2).indices.T
    assert torch.equal(estimate.info.index[:2].sort(0).values, top.sort(0).values)
    for drawn in estimate.info.index[2:]:
        assert not (drawn == top).any()


def test_of_equally_likely_experts_the_first_are_summed():
    mixture = bank_mixture()
    with torch.no_grad():
        mixture.gate.weight.zero_()
        mixture.gate.bias.zero_()
    index = Stratified(2)(mixture.observe(*data())).info.index
    assert torch.equal(index[:2], torch.tensor([[0], [1]]).expand(2, ROWS))


@pytest.mark.parametrize("options", [{"top": 0}, {"num_samples": 0}, {"top": 1.5}, {"top": "2"}])
def test_counts_are_refused(options):
    with pytest.raises(
        gw.GatewiseError, match=r"must be a whole number of at least 1, got .*; for draws alone use multi-sample"
    ):
        gw.objectives.get("stratified", **options)


def test_costs():
    assert Stratified().evaluations(8) == 2
    assert Stratified(3, 2).evaluations(8) == 5
    assert Stratified(7, 4).evaluations(8) == 8
