"""What every router keeps, and the layer with it."""

import copy
import weakref

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import gatewise as gw
from gatewise.testing.checks.repetition import FORMS
from tests.chance import seeded
from tests.mixture.models import Counting
from tests.nn.cases import CASES, EXPERTS, FEATURES, OUTPUTS, gradients, layer_of, tokens

every_router = pytest.mark.parametrize(("router", "k"), CASES)


def seeded_call(layer, *arguments, seed=7):
    torch.manual_seed(seed)
    return layer(*arguments)


@every_router
@pytest.mark.parametrize("training", [True, False])
def test_the_output_is_the_weighted_sum_of_all_experts(router, k, training):
    layer = layer_of(router, k).train(training)
    x = tokens(2, 6).requires_grad_()
    y, routing = seeded_call(layer, x)
    torch.manual_seed(7)
    again = layer.router(x.flatten(0, 1))
    dense_weights = torch.zeros_like(again.logits).scatter(1, again.index, again.weights)
    dense = torch.einsum("nk,nko->no", dense_weights, layer.experts(x.flatten(0, 1))).view(2, 6, OUTPUTS)
    assert torch.equal(routing.index, again.index)
    torch.testing.assert_close(y, dense)
    cotangent = torch.randn(y.shape, generator=seeded(5), dtype=y.dtype)
    ours, theirs = (
        gradients((out * cotangent).sum() + 0.5 * decided.balance_loss() + 0.3 * decided.z_loss(), layer, x)
        for out, decided in ((y, routing), (dense, again))
    )
    for mine, exact in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, exact)


@every_router
def test_the_router_learns_from_the_loss(router, k):
    layer = layer_of(router, k)
    y, routing = layer(tokens(40))
    cost = (y - 1).square().mean(-1)
    loss = cost.mean()
    if router == "score-function":
        assert gradients(loss, layer.router)[0].abs().max() == 0  # the output alone teaches it nothing
        loss = loss + layer.score_function_loss(routing, cost)
    assert gradients(loss, layer.router)[0].norm() > 1e-3


@every_router
@pytest.mark.parametrize("training", [True, False])
def test_each_token_costs_what_the_router_says(router, k, training):
    experts = [Counting(OUTPUTS) for _ in range(EXPERTS)]
    layer = layer_of(router, k, experts=experts, hidden=None, out_features=None).train(training)
    _, routing = layer(tokens(11))
    assert layer.router.experts_run == (EXPERTS if training and router in ("straight-through", "reinmax") else k)
    assert sum(expert.rows for expert in experts) == 11 * layer.router.experts_run
    assert routing.chosen.shape == (11, k)
    assert routing.counts.tolist() == [(routing.chosen == z).sum() for z in range(EXPERTS)]


@every_router
def test_the_order_of_tokens_does_not_matter(router, k):
    layer = layer_of(router, k).eval()
    x, order = tokens(17), torch.randperm(17, generator=seeded(4))
    (y, routing), (permuted, of_permuted) = layer(x), layer(x[order])
    torch.testing.assert_close(permuted, y[order])
    assert torch.equal(of_permuted.counts, routing.counts)
    torch.testing.assert_close(of_permuted.balance_loss(), routing.balance_loss())


@every_router
def test_padding_neither_runs_nor_counts(router, k):
    experts = [Counting(OUTPUTS) for _ in range(EXPERTS)]
    layer = layer_of(router, k, experts=experts, hidden=None, out_features=None)
    padding = torch.tensor([[False, True, False], [True, False, True]])
    x = tokens(2, 3).masked_fill(padding.unsqueeze(-1), torch.nan).requires_grad_()
    y, routing = seeded_call(layer, x, padding)
    assert sum(expert.rows for expert in experts) == 3 * layer.router.experts_run
    alone, of_alone = seeded_call(layer, x[~padding])
    torch.testing.assert_close(y[~padding], alone)
    assert (y[padding] == 0).all()
    assert torch.equal(routing.counts, of_alone.counts)
    for ours, theirs in zip(losses(routing), losses(of_alone), strict=True):
        torch.testing.assert_close(ours, theirs)
    for gradient in gradients(y.sum() + sum(losses(routing)), layer, x):
        assert gradient.isfinite().all()


def losses(routing):
    return routing.balance_loss(), routing.z_loss(), routing.entropy


@every_router
@pytest.mark.parametrize("shape", [(0,), (2, 0), ()])
def test_no_tokens_and_one_without_a_batch(router, k, shape):
    layer = layer_of(router, k)
    x = tokens(*shape).requires_grad_()
    y, routing = layer(x)
    assert y.shape == (*shape, OUTPUTS)
    assert routing.counts.sum() == (k if shape == () else 0)
    # every parameter has a gradient: where processes train together, one of them may have no tokens
    for gradient in torch.autograd.grad(y.sum() + sum(losses(routing)), [*layer.parameters(), x]):
        assert gradient.isfinite().all()


@every_router
@pytest.mark.parametrize(("shape", "lead"), [((0,), 1), ((2, 0), 1), ((2, 0), 2), ((2, 3), 1), ((2, 3), 2)], ids=str)
def test_where_all_is_padding_nothing_is_learned(router, k, shape, lead):
    layer = layer_of(router, k, shared=torch.nn.Linear(FEATURES, OUTPUTS))
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    x = tokens(*shape).requires_grad_()
    y, routing = layer(x, torch.ones(shape, dtype=torch.bool))
    assert (y == 0).all()
    loss = y.sum() + sum(losses(routing))
    if router == "score-function":
        loss = loss + layer.score_function_loss(routing, torch.ones(shape[:lead], dtype=y.dtype))
    if router == "sigmoid":
        layer.update_balance(routing.counts)
    assert loss == 0
    loss.backward()
    assert all(parameter.grad.eq(0).all() for parameter in [*layer.parameters(), x])
    assert all(torch.equal(tensor, before[name]) for name, tensor in layer.state_dict().items())


@every_router
def test_all_tokens_to_one_expert(router, k):
    layer = layer_of(router, k)
    with torch.no_grad():
        layer.router.weight.zero_()
        layer.router.weight[2, 0] = 500.0
    x = tokens(9)
    x[:, 0] = 2.0
    y, routing = layer(x)
    assert routing.counts[2] == 9
    assert routing.counts.sum() == 9 * k
    for gradient in gradients(y.sum() + sum(losses(routing)), layer):
        assert gradient.isfinite().all()
    if k == 1 and router != "sigmoid":
        torch.testing.assert_close(routing.balance_loss(), torch.tensor(EXPERTS - 1.0, dtype=torch.float64))


@every_router
def test_under_autocast_the_router_stays_in_full_precision(router, k):
    layer = layer_of(router, k, dtype=torch.float32)
    x = tokens(12, dtype=torch.float32)
    wide, routed = seeded_call(layer, x)
    with torch.autocast("cpu", torch.bfloat16):
        y, routing = seeded_call(layer, x)
    assert (y.dtype, routing.logits.dtype, routing.weights.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    assert torch.equal(routing.index, routed.index)
    torch.testing.assert_close(y.float(), wide, rtol=0.05, atol=0.05)


@every_router
def test_in_bfloat16(router, k):
    layer = layer_of(router, k, dtype=torch.bfloat16)
    y, routing = layer(tokens(12, dtype=torch.bfloat16))
    assert (y.dtype, routing.logits.dtype) == (torch.bfloat16, torch.float32)
    for gradient in gradients(y.float().sum() + sum(losses(routing)), layer):
        assert gradient.isfinite().all()


@every_router
def test_activation_checkpointing_changes_nothing(router, k):
    layer, x = layer_of(router, k, dropout=0.5), tokens(3, 5).requires_grad_()
    results = []
    for call in (layer, lambda x: checkpoint(layer, x, use_reentrant=False)):
        y, routing = seeded_call(call, x)
        loss = y.square().sum() + routing.balance_loss()
        results.append([y, routing.counts, *torch.autograd.grad(loss, [*layer.parameters(), x])])
    for plain, repeated in zip(*results, strict=True):
        assert torch.equal(plain, repeated)


def steps(router, k, form):
    """Losses and gradients of three steps, losses made in the region, and the state they leave."""
    layer, found = layer_of(router, k, dropout=0.3), []
    for step in range(3):

        def loss(x):
            y, routing = layer(x)
            cost = (y - 1).square().mean((1, 2))
            loss = cost.mean() + 0.1 * routing.balance_loss() + 0.1 * routing.z_loss()
            if router == "score-function":
                loss = loss + layer.score_function_loss(routing, cost)
            return loss, routing.counts

        x = tokens(4, 5, seed=step).requires_grad_()
        layer.zero_grad()
        torch.manual_seed(step)
        value, counts = form(loss, x)
        value.backward()
        found += [value.detach(), x.grad, *(torch.zeros(()) if p.grad is None else p.grad for p in layer.parameters())]
        if router == "sigmoid":
            layer.update_balance(counts)
    return [*found, *layer.buffers()]


@every_router
def test_what_a_checkpoint_repeats_changes_nothing_over_steps(router, k):
    right = steps(router, k, FORMS["a plain call"])
    for name, form in FORMS.items():
        for found, wanted in zip(steps(router, k, form), right, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12, msg=name)


@every_router
def test_a_layer_keeps_nothing_of_a_step(router, k):
    layer = layer_of(router, k)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    y, routing = layer(tokens(6))
    left = weakref.ref(routing.logits), weakref.ref(y)
    del y, routing
    assert [reference() for reference in left] == [None, None]
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


@every_router
def test_copies_and_saved_states_are_the_same_layer(router, k):
    layer, x = layer_of(router, k), tokens(8)
    fresh = gw.nn.MoELayer(FEATURES, EXPERTS, hidden=6, out_features=OUTPUTS, router=router, k=k).double()
    fresh.load_state_dict(layer.state_dict())
    expected = seeded_call(layer, x)[0]
    for other in (copy.deepcopy(layer), fresh):
        assert torch.equal(seeded_call(other, x)[0], expected)


@pytest.mark.parametrize(("router", "k"), [("softmax", 2), ("reinmax", 1)])
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # the compiler's own, where it resumes after the dispatch
def test_inside_a_compiled_model(router, k):
    layer, x = layer_of(router, k), tokens(8)

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            y, routing = self.layer(x.tanh())
            return y.relu(), routing.balance_loss()

    block = Block()
    torch._dynamo.reset()
    torch.testing.assert_close(seeded_call(torch.compile(block, backend="eager"), x), seeded_call(block, x))
