"""What the routers of one drawn expert claim of their gradients, by enumeration of all that they draw."""

import pytest
import torch

import gatewise as gw
from gatewise.nn.routers.sparse_mixer import SHRINKING
from tests.chance import seeded
from tests.nn.cases import EXPERTS, FEATURES, OUTPUTS, gradients, layer_of, tokens

C, A, D = (torch.randn(n, OUTPUTS, generator=seeded(9), dtype=torch.float64) for n in (1, OUTPUTS, 1))


def loss_of(degree):
    """A loss of outputs `[1, O]`: linear, quadratic, cubic or of no degree."""

    def loss(y):
        value = (C * y).sum() + 1.5
        if degree >= 2:
            value = value + (y @ A).square().sum()
        if degree >= 3:
            value = value + (D * y).sum() ** 3
        return value + (2 * y).sin().sum() if degree > 3 else value

    return loss


def exact(layer, x, loss, weighted):
    """The gradients of Σ_z π_z L(w_z E_z), w = π or 1."""
    probs = layer.router(x).probs[0]
    outputs = layer.experts(x)[0]
    weights = probs if weighted else torch.ones_like(probs)
    return gradients(sum(probs[z] * loss(weights[z] * outputs[z : z + 1]) for z in range(EXPERTS)), layer)


def expected(layer, x, loss, shrinking=((False, 1.0),), cost=False):
    """The mean of the gradients over all draws, and whether an output is shrunk."""
    probs = layer.router(x).probs[0].detach()
    total = [torch.zeros_like(p) for p in layer.parameters()]
    for z in range(EXPERTS):
        index = torch.tensor([z])
        layer.router.draw_index = lambda logits, index=index: index
        if hasattr(layer.router, "estimator"):
            layer.router.estimator.draw_index = lambda logits, *_, index=index: index.unsqueeze(0)
        for shrunk, share in shrinking:
            layer.router.draw_shrunk = lambda index, shrunk=shrunk: torch.tensor([shrunk])
            y, routing = layer(x)
            value = loss(y)
            if cost:
                value = value + layer.score_function_loss(routing, value.view(1))
            for sum_, gradient in zip(total, gradients(value, layer), strict=True):
                sum_ += probs[z] * share * gradient
    return total


def distance(ours, theirs, layer, part):
    """How far the gradients of the router, or of the experts, are apart, relative to the exact ones."""
    names = [name.startswith(part) for name, _ in layer.named_parameters()]
    pairs = [(a, b) for a, b, inside in zip(ours, theirs, names, strict=True) if inside]
    return sum((a - b).norm() for a, b in pairs) / sum(b.norm() for _, b in pairs)


@pytest.mark.parametrize("baseline", ["none", "running-mean"])
def test_score_function_is_unbiased(baseline):
    router = gw.nn.routers.ScoreFunctionRouter(FEATURES, EXPERTS, baseline=baseline)
    layer, x = layer_of(router, None), tokens(1)
    layer.score_function_loss(layer(x)[1], torch.tensor([4.0])).backward()  # what the running mean has seen before
    layer.router.baseline.update = lambda *_, **__: None  # b stands still while all draws are enumerated
    found, wanted = expected(layer, x, loss_of(4), cost=True), exact(layer, x, loss_of(4), weighted=False)
    assert max(distance(found, wanted, layer, part) for part in ("router", "experts")) < 1e-12


@pytest.mark.parametrize(("router", "degree"), [("straight-through", 1), ("reinmax", 2)])
def test_straight_through_and_reinmax_to_their_order(router, degree):
    layer, x = layer_of(router), tokens(1)
    found = expected(layer, x, loss_of(degree))
    assert distance(found, exact(layer, x, loss_of(degree), weighted=False), layer, "router") < 1e-12
    beyond = expected(layer, x, loss_of(4))
    wanted = exact(layer, x, loss_of(4), weighted=False)
    assert distance(beyond, wanted, layer, "router") > 0.01
    assert distance(beyond, wanted, layer, "experts") < 1e-12


@pytest.mark.parametrize("order", [1, 2, 3])
def test_sparse_mixer_to_its_order(order):
    router = gw.nn.routers.SparseMixerRouter(FEATURES, EXPERTS, order=order)
    layer, x = layer_of(router, None), tokens(1)
    share = SHRINKING[order][1]
    shrinking = ((True, share), (False, 1 - share))
    for degree in (1, 2, 3, 4):
        found, wanted = (
            expected(layer, x, loss_of(degree), shrinking),
            exact(layer, x, loss_of(degree), weighted=True),
        )
        assert (distance(found, wanted, layer, "router") < 1e-12) == (degree <= order), degree


def test_sparse_mixer_that_does_not_shrink_the_argmax_is_exact_for_linear_losses_alone():
    router = gw.nn.routers.SparseMixerRouter(FEATURES, EXPERTS, order=2, shrink_argmax=False)
    layer, x = layer_of(router, None), tokens(1)
    for degree in (1, 2):
        found = expected(layer, x, loss_of(degree), ((True, 0.5), (False, 0.5)))
        assert (distance(found, exact(layer, x, loss_of(degree), True), layer, "router") < 1e-12) == (degree == 1)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_sparse_mixer_shrinks_as_often_as_it_says(order):
    """Misses a share that is wrong by 0.03 with probability below 1e-9, and is wrong itself as rarely."""
    router = gw.nn.routers.SparseMixerRouter(FEATURES, EXPERTS, order=order)
    share = router.draw_shrunk(torch.zeros(100_000, dtype=torch.int64)).double().mean()
    assert abs(share - SHRINKING[order][1]) < 0.015
