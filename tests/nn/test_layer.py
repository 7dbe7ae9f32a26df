"""The layer itself: what it is made of, what it refuses, and its losses and statistics."""

import pytest
import torch
from torch import nn

import gatewise as gw
from tests.chance import seeded
from tests.mixture.models import Counting
from tests.nn.cases import CASES, EXPERTS, FEATURES, OUTPUTS, gradients, layer_of, tokens


def test_the_bank_is_as_wide_as_a_feed_forward_by_default():
    layer = gw.nn.MoELayer(FEATURES, 3)
    assert [tuple(weight.shape) for weight in layer.experts.weights] == [(3, 4, 16), (3, 16, 4)]
    deep = gw.nn.MoELayer(FEATURES, 3, hidden=(5, 6), out_features=2)
    assert [tuple(weight.shape) for weight in deep.experts.weights] == [(3, 4, 5), (3, 5, 6), (3, 6, 2)]


def test_modules_as_experts():
    modules = [nn.Linear(FEATURES, OUTPUTS), nn.Sequential(nn.Linear(FEATURES, 8), nn.GELU(), nn.Linear(8, OUTPUTS))]
    layer = gw.nn.MoELayer(FEATURES, modules).double()
    y, routing = layer(tokens(9))
    for n, z in enumerate(routing.index[:, 0].tolist()):
        torch.testing.assert_close(y[n], routing.weights[n, 0] * modules[z](tokens(9)[n]))


def test_a_shared_expert_runs_for_every_token_and_not_for_padding():
    shared = nn.Linear(FEATURES, OUTPUTS, dtype=torch.float64)
    layer, x = layer_of(shared=shared), tokens(2, 3)
    padding = torch.tensor([[False, False, True], [True, False, False]])
    y, _ = layer(x, padding)
    with_shared = layer_of(shared=None)(x)[0] + shared(x)
    torch.testing.assert_close(y, with_shared.masked_fill(padding.unsqueeze(-1), 0.0))


def test_the_balance_loss_is_that_of_the_formula():
    routing = layer_of("softmax", 2)(tokens(11))[1]
    share = torch.stack([(routing.index == z).sum() for z in range(EXPERTS)]) / 22
    torch.testing.assert_close(routing.balance_loss(), EXPERTS * (share * routing.probs.mean(0)).sum() - 1)
    torch.testing.assert_close(routing.z_loss(), routing.logits.exp().sum(-1).log().square().mean())
    torch.testing.assert_close(routing.entropy, -(routing.probs * routing.probs.log()).sum(-1).mean().detach())


def test_an_even_choice_costs_nothing():
    layer = layer_of("softmax", 5)
    with torch.no_grad():
        layer.router.weight.zero_()
    assert layer(tokens(8))[1].balance_loss().abs() < 1e-12


def test_counts_of_all_processes_balance_the_whole_batch():
    layer, x = layer_of(), tokens(30)
    whole = layer(x)[1]
    parts = [layer(part)[1] for part in x.split(10)]
    counts = sum(part.counts for part in parts)
    mean = sum(part.balance_loss(counts) for part in parts) / 3
    torch.testing.assert_close(mean, whole.balance_loss())
    for ours, theirs in zip(gradients(mean, layer.router), gradients(whole.balance_loss(), layer.router), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_spreading_fills_the_places_of_padding():
    padding = torch.tensor([[False, True], [False, False]])
    routing = layer_of()(tokens(2, 2), padding)[1]
    spread = routing.spread(routing.chosen, fill=-1)
    assert spread.shape == (2, 2, 1)
    assert torch.equal(spread[~padding], routing.chosen)
    assert spread[0, 1] == -1
    with pytest.raises(gw.GatewiseError, match="of 3 tokens, got 4 values"):
        routing.spread(torch.zeros(4))


def test_everything_is_padding():
    y, routing = layer_of("softmax", 2)(tokens(2, 3), torch.ones(2, 3, dtype=torch.bool))
    assert (y.shape, y.abs().max()) == ((2, 3, OUTPUTS), 0)
    assert routing.counts.tolist() == [0] * EXPERTS


def test_the_same_seed_gives_the_same_bits():
    def trained():
        torch.manual_seed(5)
        layer = layer_of("noisy-top-k", 2, dropout=0.2)
        optimiser = torch.optim.AdamW(layer.parameters(), lr=0.01)
        for _ in range(5):
            y, routing = layer(tokens(30))
            (y.square().mean() + routing.balance_loss()).backward()
            optimiser.step()
            optimiser.zero_grad()
        return layer.state_dict()

    first, second = trained(), trained()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_it_learns_a_choice():
    """Two regions with a linear map each: two linear experts and a router reach what one linear map cannot."""
    torch.manual_seed(0)
    maps = torch.randn(2, FEATURES, OUTPUTS, generator=seeded(3))
    x = torch.randn(400, FEATURES, generator=seeded(2))
    target = torch.where(x[:, :1] > 0, x @ maps[0], x @ maps[1])
    one = torch.linalg.lstsq(x, target).solution
    layer = gw.nn.MoELayer(FEATURES, 2, hidden=(), out_features=OUTPUTS)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=0.03)
    for _ in range(300):
        y, routing = layer(x)
        loss = (y - target).square().mean()
        optimiser.zero_grad()
        (loss + 0.01 * routing.balance_loss()).backward()
        optimiser.step()
    assert loss < 0.3 * (x @ one - target).square().mean()


REFUSED = {
    "another number of features": (lambda: layer_of()(torch.zeros(2, 3)), r"x of shape \[..., 4\], got \[2, 3\]"),
    "padding of another shape": (lambda: layer_of()(tokens(2, 3), torch.zeros(3).bool()), r"of shape \[2, 3\]"),
    "padding of numbers": (lambda: layer_of()(tokens(2), torch.zeros(2)), "padding must be bool"),
    "an unknown router": (lambda: layer_of("softmaks"), "unknown router 'softmaks'; did you mean 'softmax'"),
    "k for one expert": (lambda: layer_of("reinmax", 2), "router 'reinmax' chooses one expert a token, got k=2"),
    "k beyond the experts": (lambda: layer_of("softmax", 9), "from 1 to 5 experts, got 9"),
    "k and a router": (
        lambda: layer_of(gw.nn.routers.SoftmaxRouter(FEATURES, EXPERTS), 2),
        "k=2 has no effect on a router",
    ),
    "a router of other sizes": (
        lambda: layer_of(gw.nn.routers.SoftmaxRouter(7, 8), None),
        "made for 7 features and 8 experts, the layer has 4 and 5",
    ),
    "hidden and modules": (
        lambda: gw.nn.MoELayer(4, [nn.Linear(4, 4)], hidden=3),
        "hidden=3 has no effect on experts that are given",
    ),
    "no experts": (lambda: gw.nn.MoELayer(4, 0), "at least 1 expert"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_in_one_line(case):
    call, words = REFUSED[case]
    with pytest.raises(gw.GatewiseError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


# Masks


class Broken(nn.Module):
    """An expert whose answers are no numbers."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((FEATURES, OUTPUTS), torch.nan, dtype=torch.float64))

    def forward(self, x):
        return x @ self.weight


def masked_layer(router, k):
    """Expert 1, which is broken, is masked for all tokens, and for token 0 all but expert 2."""
    layer = layer_of(router, k, experts=[Counting(OUTPUTS) for _ in range(EXPERTS)], hidden=None, out_features=None)
    layer.experts.members[1] = Broken()
    scores = layer.router.scores

    def masked(x):
        logits = scores(x).clone()
        logits[:, 1] = -torch.inf
        logits[0, torch.arange(EXPERTS) != 2] = -torch.inf
        return logits

    layer.router.scores = masked
    return layer


@pytest.mark.parametrize(("router", "k"), CASES)
@pytest.mark.parametrize("training", [True, False])
def test_what_a_router_masks_is_not_run_and_does_not_count(router, k, training):
    layer, x = masked_layer(router, k).train(training), tokens(20).requires_grad_()
    if router == "sigmoid":
        layer.router.balance_bias[1] = 100.0  # no bias brings it back
    for _ in range(3):
        y, routing = layer(x)
        assert routing.counts[1] == 0
        assert routing.counts.sum() == (20 if k == 1 else 19 * min(k, EXPERTS - 1) + 1)
        assert not (routing.index == 1).any()
        assert set(routing.index[0].tolist()) <= {-1, 2}
        assert (routing.weights[routing.index < 0] == 0).all()
        loss = y.square().sum() + routing.balance_loss() + routing.z_loss()
        if training and router == "score-function":
            loss = loss + layer.score_function_loss(routing, y.detach().square().sum(-1))
        assert loss.isfinite()
        assert all(g.isfinite().all() for g in gradients(loss, layer, x) if g is not None)
        weight = routing.weights[0][routing.index[0] == 2]
        torch.testing.assert_close(y[0], weight * layer.experts.members[2](x[:1])[0])
