"""A mixture of mixtures is the flat mixture of its leaves."""

import pytest
import torch
from torch import nn

import gatewise as gw
from gatewise.metrics import evaluate

ROWS, CLASSES = 9, 4
NAMES = ["0.0", "0.1", "0.2", "1.0", "1.1.0", "1.1.1", "2"]


@pytest.fixture
def tree():
    """Three levels; banks, a list, a trunk at the root and in a branch; and one plain module."""
    bank = gw.MixtureOfExperts(nn.Linear(5, 3), gw.MLPBank(3, 5, [6], CLASSES), trunk=nn.Linear(5, 5))
    deep = gw.MixtureOfExperts(nn.Linear(5, 2), gw.MLPBank(2, 5, [], CLASSES))
    mixed = gw.MixtureOfExperts(nn.Linear(5, 2), [nn.Linear(5, CLASSES), deep])
    root = gw.MixtureOfExperts(nn.Linear(5, 3), [bank, mixed, nn.Linear(5, CLASSES)], trunk=nn.Linear(6, 5))
    return root.double()


@pytest.fixture
def rows():
    return torch.randn(ROWS, 6).double(), torch.randint(CLASSES, (ROWS,))


def test_the_leaves_have_names_and_the_same_parameters(tree):
    flat = gw.mixture.by_leaf(tree)
    assert gw.mixture.leaf_names(tree) == NAMES
    assert flat.num_experts == len(NAMES)
    assert set(flat.parameters()) == set(tree.parameters())


def test_the_likelihood_and_its_gradient_are_the_same(tree, rows):
    flat = gw.mixture.by_leaf(tree)
    torch.testing.assert_close(flat(rows[0]), tree(rows[0]), rtol=0, atol=1e-12)
    parameters = list(tree.parameters())
    ours = torch.autograd.grad(flat.log_prob(*rows).sum(), parameters)
    theirs = torch.autograd.grad(tree.log_prob(*rows).sum(), parameters)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)


def test_the_posterior_is_the_product_on_the_way(tree, rows):
    x, y = rows
    features, _ = tree.read(x)
    of_root, (bank, mixed, _) = tree.posterior(x, y), tree.experts.members
    of_mixed, deep = mixed.posterior(features, y), mixed.experts.members[1]
    parts = [
        of_root[:, :1] * bank.posterior(features, y),
        of_root[:, 1:2] * of_mixed[:, :1],
        of_root[:, 1:2] * of_mixed[:, 1:] * deep.posterior(features, y),
        of_root[:, 2:],
    ]
    torch.testing.assert_close(gw.mixture.by_leaf(tree).posterior(x, y), torch.cat(parts, 1), rtol=0, atol=1e-12)


def test_a_leaf_answers_alone_and_only_where_it_is_asked(tree, rows):
    flat = gw.mixture.by_leaf(tree)
    index = torch.randint(3, (2, ROWS))  # leaves of the first branch
    seen = []
    for member in tree.experts.members[1:]:
        member.register_forward_hook(lambda *_: seen.append(1))
    asked = flat.observe(*rows).at_index(index)
    assert not seen
    every = torch.randint(len(NAMES), (5, ROWS))
    for drawn in (index, every):
        expected = flat.observe(*rows).at_all().T.gather(0, drawn)
        torch.testing.assert_close(flat.observe(*rows).at_index(drawn), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(asked, flat.observe(*rows).at_all().T.gather(0, index), rtol=0, atol=1e-12)


def test_the_evaluation_and_the_routes_speak_of_leaves(tree, rows):
    flat = gw.mixture.by_leaf(tree)
    tally = evaluate(flat, *rows, CLASSES)
    assert len(tally.details().mean_gate) == len(NAMES)
    assert tally.result().nll == pytest.approx(-tree.log_prob(*rows).mean().item(), rel=1e-9)
    top = flat.predict_proba(rows[0], route="top1")
    chosen = flat.gate_proba(rows[0]).argmax(-1)
    expected = flat.expert_log_probs(rows[0])[1][torch.arange(ROWS), chosen].exp()
    torch.testing.assert_close(top, expected, rtol=0, atol=1e-12)


def test_another_head_inside_is_refused():
    inner = gw.MixtureOfExperts(nn.Linear(5, 2), gw.MLPBank(2, 5, [], 2), head=gw.mixture.Gaussian())
    with pytest.raises(gw.GatewiseError, match=r"the mixture experts.members.0 has the head Gaussian"):
        gw.mixture.by_leaf(gw.MixtureOfExperts(nn.Linear(5, 2), [inner, nn.Linear(5, 2)]))
