"""Probabilities behind the unordered set and the antithetic pairs, and what the pairs are worth."""

import itertools

import pytest
import torch

import gatewise as gw
from gatewise.estimators.antithetic import log_pair
from gatewise.estimators.unordered_set import set_weights
from tests.chance import ALPHA, frequency_p, seeded
from tests.sweeps.sets import SIZES, of_a_constant, to_20_digits


def ordered_probability(probs, order, domain_left=1.0):
    """P of drawing `order` without replacement from a domain of that mass."""
    probability, left = 1.0, domain_left
    for i in order:
        probability *= probs[i] / left
        left -= probs[i]
    return probability


def set_probability(probs, members, domain_left=1.0):
    """The sum over all orders."""
    return sum(ordered_probability(probs, order, domain_left) for order in itertools.permutations(members))


@pytest.mark.parametrize("scale", [0.3, 1.0, 6.0])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_weights_are_those_of_the_sums_over_orders(size, scale):
    logits = scale * torch.randn(6, generator=seeded(size), dtype=torch.float64)
    probs = logits.softmax(-1).tolist()
    members = list(range(0, size))
    weights, shares = set_weights(
        logits.log_softmax(-1), torch.tensor(members), torch.ones(size, dtype=torch.bool), second=True
    )
    whole = set_probability(probs, members)
    for s in members:
        others = [m for m in members if m != s]
        without_s = set_probability(probs, others, 1 - probs[s])
        assert weights[s].item() == pytest.approx(probs[s] * without_s / whole, rel=1e-9)
        for t in others:
            rest = [m for m in others if m != t]
            right = probs[t] * set_probability(probs, rest, 1 - probs[s] - probs[t]) / without_s
            assert shares[s, t].item() == pytest.approx(right, rel=1e-9)
            assert shares[s, s].item() == pytest.approx(probs[s])


@pytest.mark.parametrize(("categories", "size", "scale"), [(40, 30, 3.0), (4096, 40, 0.5)])
def test_the_weights_of_large_sets_agree_with_20_digits(categories, size, scale):
    assert to_20_digits(categories, size, scale) < 1e-11


@pytest.mark.parametrize(("categories", "size"), SIZES)
def test_every_draw_of_a_constant_gives_the_constant(categories, size):
    """1 for f = 1, without a gradient: the weights of every set add up to 1, at any logits."""
    for scale in (0.0, 1.0, 1e4):
        assert max(of_a_constant(categories, size, scale)) < 1e-11


@pytest.mark.parametrize("size", [1, 2, 3, 5, 11, 40, 256])
def test_the_weights_add_up_to_1_for_odds_of_every_kind(size):
    """Alike, spread, in two clusters, and a cliff behind two that are rare; beside one category that is left."""
    noise = torch.randn(16, size, generator=seeded(1), dtype=torch.float64)
    level = torch.linspace(-8, 8, 16, dtype=torch.float64).unsqueeze(1)
    rare = torch.arange(size) < 2
    kinds = [level + 0 * noise, noise, 100 * noise, 20 * noise.sign() + noise, torch.where(rare, -30.0, level)]
    for log_odds in kinds:
        log_probs = torch.cat([log_odds, torch.zeros(16, 1, dtype=torch.float64)], 1).log_softmax(-1)
        named = torch.arange(size).expand(16, size)
        weights, shares = set_weights(log_probs, named, torch.ones_like(named, dtype=torch.bool), second=True)
        for found in (weights, weights if shares is None else shares):
            torch.testing.assert_close(found.sum(-1), torch.ones(found.shape[:-1]).double(), rtol=0, atol=1e-12)


def test_at_all_categories_sets_and_sums_are_exact_for_many_categories():
    logits = torch.randn(3, 30, generator=seeded(5), dtype=torch.float64)
    table = torch.randn(30, generator=seeded(6), dtype=torch.float64)
    results = []
    for name in ("enumeration", "unordered-set", "sum-and-sample"):
        leaf = logits.clone().requires_grad_()
        f = gw.by_index(lambda index: table[index.clamp_min(0)])
        value = gw.expect(f, leaf, gw.estimators.get(name), num_samples=30).value
        results.append((value, torch.autograd.grad(value.sum(), leaf)[0]))
    for found in results[1:]:
        torch.testing.assert_close(found, results[0], rtol=1e-10, atol=1e-12)


# Pairs


def pair_probabilities(logits):
    """P `[K, K]`; the diagonal is what is left of the marginals."""
    categories = len(logits)
    i, j = torch.cartesian_prod(torch.arange(categories), torch.arange(categories)).T
    table = log_pair(logits.log_softmax(-1), i, j).exp().view(categories, categories)
    table.fill_diagonal_(0)
    return table + (logits.softmax(-1) - table.sum(1)).diag()


@pytest.mark.parametrize("logits", [[0.3, -0.5, 1.1, 0.0], [0.0, 0.0, 0.0], [0.2, 1.5], [3.0, -3.0, 0.0]])
def test_pairs_are_drawn_with_their_probabilities(logits):
    logits = torch.tensor(logits, dtype=torch.float64)
    index = gw.estimators.get("antithetic").draw_index(logits.expand(400_000, -1), 2, seeded(7))
    counts = (len(logits) * index[0] + index[1]).bincount(minlength=len(logits) ** 2)
    probabilities = pair_probabilities(logits)
    assert (probabilities > -1e-12).all()
    torch.testing.assert_close(probabilities, probabilities.T)
    assert frequency_p(counts, probabilities.flatten().clamp_min(0)) > ALPHA


def test_two_categories_are_disarm():
    """½ (f(b) - f(b′)) (-1)^{b′} 1[b ≠ b′] σ(|φ|), for the logit φ of b = 1."""
    for phi in (-2.0, -0.3, 0.0, 1.4):
        for i, j in ((0, 1), (1, 0), (0, 0), (1, 1)):
            if i == j and (i == 1) != (phi > 0):
                continue  # this pair has probability 0
            estimator = gw.estimators.get("antithetic")
            estimator.draw_index = lambda *_, i=i, j=j: torch.tensor([i, j])
            logits = torch.tensor([0.0, phi], dtype=torch.float64, requires_grad=True)
            table = torch.tensor([0.7, 2.0], dtype=torch.float64)
            value = gw.expect(gw.by_index(lambda index, table=table: table[index]), logits, estimator, 2).value
            (gradient,) = torch.autograd.grad(value, logits)
            sigma = torch.tensor(abs(phi), dtype=torch.float64).sigmoid().item()
            disarm = 0.5 * (table[i] - table[j]).item() * (-1) ** j * (i != j) * sigma
            assert gradient[1].item() == pytest.approx(disarm, abs=1e-12)
            assert gradient.sum().item() == pytest.approx(0, abs=1e-12)


def pair_gradients(name, options, logits, table, index):
    estimator = gw.estimators.get(name, **options)
    estimator.draw_index = lambda *_: index
    leaf = logits.expand(index.shape[1], -1).clone().requires_grad_()
    value = gw.expect(gw.by_index(lambda i: table[i.clamp_min(0)]), leaf, estimator, 2).value
    return torch.autograd.grad(value.sum(), leaf)[0]


def test_pairs_are_not_worse_than_leave_one_out_in_200_random_cases():
    """Variances over all K² pairs, exact: of antithetic pairs, and of two independent draws with leave-one-out."""
    ratios, biases = [], []
    for case in range(200):
        generator = seeded(case)
        categories = int(torch.randint(5, 65, (), generator=generator)) if case % 4 == 0 else 5 + case % 7
        scale = 3.0 * torch.rand((), generator=generator)
        logits = scale * torch.randn(categories, generator=generator, dtype=torch.float64)
        table = torch.randn(categories, generator=generator, dtype=torch.float64) + case % 5
        index = torch.cartesian_prod(torch.arange(categories), torch.arange(categories)).T
        probs = logits.softmax(-1)
        right = probs * (table - probs @ table)
        pairs = pair_probabilities(logits).flatten()
        independent = torch.outer(probs, probs).flatten()
        both = []
        for weight, name, options in (
            (pairs, "antithetic", {}),
            (independent, "score-function", {"baseline": "leave-one-out"}),
        ):
            gradient = pair_gradients(name, options, logits, table, index)
            biases.append((weight @ gradient - right).abs().max().item())
            both.append((weight @ (gradient - right).square().sum(-1)).item())
        ratios.append(both[0] / both[1])
    assert max(biases) < 1e-12
    assert max(ratios) <= 1 + 1e-9
    assert min(ratios) < 0.3
