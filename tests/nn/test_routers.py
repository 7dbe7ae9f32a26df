"""What each router does that others do not."""

import pytest
import torch

import gatewise as gw
from tests.chance import ALPHA, frequency_p
from tests.nn.cases import EXPERTS, FEATURES, gradients, layer_of, tokens


def router_of(name, **options):
    torch.manual_seed(2)
    return gw.nn.routers.get(name, in_features=FEATURES, num_experts=EXPERTS, **options).double()


def test_one_softmax_expert_is_weighed_by_its_probability():
    routing = router_of("softmax")(tokens(6))
    torch.testing.assert_close(routing.weights, routing.probs.amax(-1, keepdim=True))


@pytest.mark.parametrize("renormalise", [None, True, False])
def test_several_softmax_experts_are_renormalised_unless_asked_not_to(renormalise):
    routing = router_of("softmax", k=2, renormalise=renormalise)(tokens(6))
    highest = routing.probs.topk(2).values
    expected = highest if renormalise is False else highest / highest.sum(-1, keepdim=True)
    torch.testing.assert_close(routing.weights, expected)


def test_renormalising_one_expert_is_refused():
    with pytest.raises(gw.GatewiseError, match="always 1 and the router's gradient 0"):
        router_of("softmax", renormalise=True)


@pytest.mark.parametrize(("name", "k"), [("softmax", 2), ("noisy-top-k", 2), ("sigmoid", 2)])
def test_scores_far_apart_give_finite_weights_and_gradients(name, k):
    router = router_of(name, k=k)
    with torch.no_grad():
        router.weight.mul_(1e4)
    routing = router(tokens(20))
    torch.testing.assert_close(routing.weights.sum(-1), torch.ones(20, dtype=torch.float64))
    for gradient in gradients(routing.weights[:, 0].sum() + routing.balance_loss(), router):
        assert gradient.isfinite().all()


def test_sampling_routers_draw_in_training_and_take_the_best_after():
    for name in ("score-function", "sparsemixer", "straight-through", "reinmax", "noisy-top-k"):
        router, x = router_of(name), tokens(200)
        best = router.scores(x).argmax(-1, keepdim=True)
        assert not torch.equal(router(x).chosen, best)
        assert torch.equal(router.eval()(x).chosen, best)


def test_any_estimator_of_points_is_a_router():
    estimator = gw.estimators.get("gumbel-rao", temperature=0.5)
    layer = layer_of(gw.nn.routers.PointRouter(FEATURES, EXPERTS, estimator), None)
    y, routing = layer(tokens(5))
    torch.testing.assert_close(y, layer.experts(tokens(5))[torch.arange(5), routing.chosen[:, 0]])
    assert gradients(y.sum(), layer.router)[0].norm() > 0


# Sigmoid


def test_the_bias_chooses_and_does_not_weigh():
    router, x = router_of("sigmoid", k=2, scale=2.5), tokens(9)
    router.balance_bias[3] = 2.0
    routing = router(x)
    assert (routing.index == 3).any(-1).all()
    affinity = router.scores(x).sigmoid().gather(-1, routing.index)
    torch.testing.assert_close(routing.weights, 2.5 * affinity / affinity.sum(-1, keepdim=True))
    torch.testing.assert_close(routing.probs.sum(-1), torch.ones(9, dtype=torch.float64))


def test_the_bias_moves_against_the_counts_by_its_rate():
    layer = layer_of("sigmoid")
    layer.update_balance(torch.tensor([10, 0, 4, 5, 6]))
    torch.testing.assert_close(layer.router.balance_bias, torch.tensor([-1, 1, 1, 0, -1]).double() * 0.001)


def test_the_bias_balances_a_router_that_prefers_one_expert():
    layer, x = layer_of(router_of("sigmoid", rate=0.01), None), tokens(400).abs()
    with torch.no_grad():
        layer.router.weight[0] += 1.0
    before = layer(x)[1]
    assert before.counts[0] > 300
    for _ in range(200):
        layer.update_balance(layer(x)[1].counts)
    after = layer(x)[1]
    assert after.counts.amin() > 40  # of 80 each
    assert after.balance_loss() < before.balance_loss()


def test_the_bias_stays_in_float32():
    layer = layer_of("sigmoid", dtype=torch.float32).bfloat16()
    assert (layer.router.weight.dtype, layer.router.balance_bias.dtype) == (torch.bfloat16, torch.float32)
    assert "router.balance_bias" in layer.state_dict()
    assert layer.double().router.balance_bias.dtype == torch.float64


def test_counts_of_another_number_of_experts_are_refused():
    with pytest.raises(gw.GatewiseError, match=r"counts of shape \[5\], got \[4\]"):
        layer_of("sigmoid").update_balance(torch.zeros(4))
    with pytest.raises(gw.GatewiseError, match="router 'softmax' has no balance bias"):
        layer_of("softmax").update_balance(torch.zeros(5))


# Noisy top-k


def test_the_noise_has_the_size_that_is_learned():
    """Over 100,000 draws; a false alarm has probability ALPHA, and a size wrong by 5 % passes with less than 1e-4."""
    router = gw.nn.routers.NoisyTopKRouter(1, 2).double()
    with torch.no_grad():
        router.weight.copy_(torch.tensor([[1.35], [0.0]]))
        router.noise_weight.copy_(torch.tensor([[1.0], [-1.0]]))
    x = torch.ones(1, 1, dtype=torch.float64)
    spread = torch.nn.functional.softplus(router.noise_weight).norm()
    first = 0.5 + 0.5 * torch.erf(1.35 / spread / 2**0.5)
    counts = router(x.expand(100_000, 1)).counts
    assert frequency_p(counts, torch.stack([first, 1 - first]).detach()) > ALPHA
    assert gradients(router(x).weights.sum(), router)[1].norm() > 0


# Score function


def score_layer(**options):
    router = gw.nn.routers.ScoreFunctionRouter(FEATURES, EXPERTS, **options)
    return layer_of(router, None)


def test_a_cost_an_example_is_charged_to_all_its_tokens():
    layer = score_layer(baseline="none")
    y, routing = layer(tokens(3, 4))
    cost = y.square().mean((1, 2)).detach()
    loss = layer.score_function_loss(routing, cost)
    assert loss == 0
    expected = (cost.unsqueeze(1) * routing.log_prob.view(3, 4)).sum() / 3
    for ours, theirs in zip(gradients(loss, layer.router), gradients(expected, layer.router), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_costs_of_padding_do_not_count():
    layer = score_layer()
    padding = torch.tensor([[False, True], [True, True], [False, False]])
    y, routing = layer(tokens(3, 2), padding)
    cost = torch.arange(6.0, dtype=torch.float64).view(3, 2) + 1
    spoilt = cost.masked_fill(padding, torch.nan)
    first, second = (gradients(layer.score_function_loss(routing, spoilt), layer.router) for _ in range(2))
    real, log_prob = cost[~padding], routing.log_prob
    for seen, gradient in ((0.0, first), (real.mean(), second)):
        wanted = gradients(((real - seen) * log_prob).mean(), layer.router)
        torch.testing.assert_close(gradient[0], wanted[0], rtol=1e-6, atol=1e-6)
    assert y.isfinite().all()


def test_the_baseline_sees_a_cost_once_the_gradient_of_its_loss_is_taken():
    layer = score_layer()
    for _ in range(3):
        routing = layer(tokens(6))[1]
    loss = layer.score_function_loss(routing, torch.full((6,), 3.0, dtype=torch.float64))
    assert layer.router.baseline.weight == 0
    loss.backward()
    torch.testing.assert_close(layer.router.baseline(torch.zeros(1), None), torch.tensor(3.0))


def test_held_costs_wait_for_the_commit():
    layer = score_layer()
    layer.router.hold_statistics = True
    for rows in (1, 3):
        layer.score_function_loss(layer(tokens(rows))[1], torch.full((rows,), 3.0, dtype=torch.float64)).backward()
        assert layer.router.baseline.weight == 0
    layer.router.commit()
    torch.testing.assert_close(layer.router.baseline.weight, torch.tensor(0.1, dtype=torch.float64))
    layer_of("softmax").router.commit()  # of which nothing is held


def test_a_routing_that_lost_its_graph_is_refused():
    """It left a region of the checkpoint's reentrant form, and would teach the router nothing."""
    layer, x = score_layer(), tokens(6).requires_grad_()
    y, routing = torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=True)
    with pytest.raises(gw.GatewiseError, match=r"no graph.*use_reentrant=False"):
        layer.score_function_loss(routing, y.square().mean(-1))
    layer.router.requires_grad_(False)
    assert layer.score_function_loss(layer(x)[1], torch.zeros(6)) == 0


def test_costs_that_cannot_be_charged_are_refused():
    layer = score_layer()
    routing = layer(tokens(3, 4))[1]
    for cost in (torch.zeros(()), torch.zeros(4), torch.zeros(3, 3)):
        with pytest.raises(gw.GatewiseError, match=r"tokens' shape \[3, 4\] or the first dimensions"):
            layer.score_function_loss(routing, cost)
    with pytest.raises(gw.GatewiseError, match="inference mode"):
        layer.score_function_loss(layer.eval()(tokens(3, 4))[1], torch.zeros(3))
    with pytest.raises(gw.GatewiseError, match="router 'softmax' learns from the loss"):
        layer_of("softmax").score_function_loss(routing, torch.zeros(3))


@pytest.mark.parametrize("baseline", ["leave-one-out", "learned"])
def test_baselines_that_cannot_serve_are_refused(baseline):
    with pytest.raises(gw.GatewiseError, match="draws once and knows no context"):
        score_layer(baseline=baseline)


def test_options_out_of_range_are_refused():
    with pytest.raises(gw.GatewiseError, match="order must be 1, 2 or 3, got 4"):
        router_of("sparsemixer", order=4)
    with pytest.raises(gw.GatewiseError, match="k must be from 1 to 5 experts, got 6"):
        router_of("softmax", k=6)
