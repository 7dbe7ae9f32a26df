"""When running means and adaptive steps move: once for a gradient that is taken, whatever a checkpoint repeats."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import gatewise as gw

TABLE = torch.tensor([1.0, 3.0])
FORMS = {
    "plain": lambda function, logits: function(logits),
    "not reentrant": lambda function, logits: checkpoint(function, logits, use_reentrant=False),
    "reentrant": lambda function, logits: checkpoint(function, logits, use_reentrant=True),
}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def f(point):
    return point @ TABLE


def logits_of(*numbers):
    return torch.tensor([numbers or (0.2, -0.3)], requires_grad=True)


def value_of(estimator):
    return lambda logits: gw.expect(f, logits, estimator).value.sum()


def score_function(drawn=None, **options):
    estimator = gw.estimators.get("score-function", **options)
    if drawn is not None:
        estimator.draw_index = lambda logits, *_: torch.full((1, *logits.shape[:-1]), drawn)
    return estimator


def seen(estimator):
    """What a running mean has seen: the weight of its past, and the mean."""
    baseline = estimator.baseline
    return baseline.weight.item(), baseline(TABLE, None).item()


@every_form
def test_the_first_gradient_is_right_and_the_mean_moves_once(form):
    """Over both draws, by their probability: the gradient of E f, and the weight .1."""
    expected = torch.zeros(2)
    for drawn, probability in enumerate(logits_of()[0].softmax(0).tolist()):
        estimator, logits = score_function(drawn), logits_of()
        form(value_of(estimator), logits).backward()
        expected += probability * logits.grad[0]
        assert seen(estimator) == pytest.approx((0.1, TABLE[drawn].item()))
    torch.testing.assert_close(expected, torch.tensor([-0.4700, 0.4700]), rtol=0, atol=5e-5)


@every_form
def test_all_calls_of_a_step_see_the_same_mean_and_move_it_in_their_order(form):
    first, second = score_function(1), score_function(0)
    second.baseline = first.baseline
    logits = logits_of()
    form(value_of(first), logits).backward()
    before = seen(first)[1]
    logits.grad = None
    (form(value_of(first), logits) + form(value_of(second), logits)).backward()
    probs = logits.detach().softmax(-1)
    right = sum((TABLE[drawn] - before) * (torch.eye(2)[drawn] - probs) for drawn in (0, 1))
    torch.testing.assert_close(logits.grad, right)
    # 3, then 3 and 1 of the second step, each with a tenth of the weight
    mean = 0.1 * (0.81 * 3 + 0.9 * 3 + 1)
    assert seen(first) == pytest.approx((1 - 0.9**3, mean / (1 - 0.9**3)))


@every_form
def test_a_call_of_another_kind_in_the_same_step(form):
    """One call under a checkpoint, one without: both see the mean as it was."""
    plain, repeated = logits_of(), logits_of()
    for logits, first in ((plain, FORMS["plain"]), (repeated, form)):
        estimator = score_function()
        for step in range(3):
            torch.manual_seed(step)
            (first(value_of(estimator), logits) + 2 * value_of(estimator)(logits)).backward()
    torch.testing.assert_close(repeated.grad, plain.grad)


@pytest.mark.parametrize("form", [FORMS["plain"], FORMS["not reentrant"]], ids=["plain", "not reentrant"])
def test_a_gradient_that_is_taken_late_is_measured_against_the_mean_that_was_seen(form):
    """As where the passes of micro-batches overlap."""
    for first, name in ((score_function(1), "score-function"), (adaptive(), "implicit-mle")):
        torch.manual_seed(1)
        logits, alone = logits_of(), logits_of()
        late = form(value_of(first), logits)
        for _ in range(3):
            value_of(first)(alone).backward()
        late.backward()
        torch.manual_seed(1)
        fresh, right = score_function(1) if name == "score-function" else adaptive(), logits_of()
        value_of(fresh)(right).backward()
        torch.testing.assert_close(logits.grad, right.grad, msg=name)


def adaptive(**options):
    return gw.estimators.get("implicit-mle", adaptive=True, rate=0.3, **options)


@every_form
def test_a_gradient_taken_twice_is_learned_from_once(form):
    estimator, logits = score_function(), logits_of()
    value = form(value_of(estimator), logits)
    if form is not FORMS["reentrant"]:  # whose graph can be gone through only once
        value.backward(retain_graph=True)
    value.backward()
    assert seen(estimator)[0] == pytest.approx(0.1)


@every_form
def test_held_statistics_move_with_the_commit(form):
    """Micro-batches of 1 and 3 rows under one commit are the batch of 4; until then every one sees the old mean."""
    parts, whole = score_function(1), score_function(1)
    parts.hold_statistics = True
    for step in range(2):
        level = seen(parts)[1]
        for rows in (1, 3):
            logits = logits_of().detach().expand(rows, -1).clone().requires_grad_()
            form(value_of(parts), logits).backward()
            torch.testing.assert_close(logits.grad[:, 1], (3 - level) * (1 - logits.detach().softmax(-1)[:, 1]))
        assert seen(parts)[0] == pytest.approx(1 - 0.9**step)
        parts.commit()
        whole.baseline.observe(torch.full((1, 4), 3.0))
        whole.commit()
        assert seen(parts) == pytest.approx(seen(whole))


@every_form
def test_the_adaptive_step_moves_once(form):
    """Up or down by the rate for each gradient, and for held ones with the commit."""
    estimator, held = adaptive(), adaptive()
    held.hold_statistics = True
    for step in range(3):
        before = held.alpha.item()
        for each in (estimator, held):
            torch.manual_seed(step)
            logits = torch.randn(50, 2, requires_grad=True)
            form(value_of(each), logits).backward()
        assert held.alpha.item() == before
        held.commit()
        assert abs(held.alpha.item() - before) == pytest.approx(0.3)
        torch.testing.assert_close(held.state_dict(), estimator.state_dict())


@every_form
def test_a_pass_that_fails_moves_nothing_and_spoils_nothing(form):
    class Failing(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise ArithmeticError("no gradient")

    estimator, logits = score_function(), logits_of()
    with pytest.raises(ArithmeticError):
        form(lambda logits: value_of(estimator)(Failing.apply(logits)), logits).backward()
    assert seen(estimator)[0] == 0
    form(value_of(estimator), logits).backward()
    assert seen(estimator)[0] == pytest.approx(0.1)


def test_functional_call_moves_what_it_is_given():
    estimator, logits = score_function(), logits_of()
    given = {name: tensor.clone() for name, tensor in estimator.named_buffers()}
    torch.func.functional_call(Called(estimator), {f"estimator.{k}": v for k, v in given.items()}, logits).backward()
    assert given["baseline.weight"].item() == pytest.approx(0.1)
    assert seen(estimator)[0] == 0
    torch.func.functional_call(Called(estimator), {}, logits).backward()
    assert seen(estimator)[0] == pytest.approx(0.1)


class Called(torch.nn.Module):
    def __init__(self, estimator):
        super().__init__()
        self.estimator = estimator

    def forward(self, logits):
        return value_of(self.estimator)(logits)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_a_transform_moves_the_buffers_that_are_its_arguments_and_refuses_others():
    model, logits = Called(score_function(1)), logits_of().detach()
    buffers = dict(model.named_buffers())

    def value(logits, buffers):
        return torch.func.functional_call(model, buffers, logits)

    first = torch.func.grad(value)(logits, buffers)
    torch.testing.assert_close(first[0, 1], 3 * (1 - logits.softmax(-1)[0, 1]))
    assert seen(model.estimator) == pytest.approx((0.1, 3.0))
    for transformed in (torch.func.grad(model), torch.func.vmap(model, randomness="different")):
        with pytest.raises(gw.GatewiseError, match=r"functional_call .* \.eval\(\)"):
            transformed(logits)
        with torch.no_grad():
            torch.func.vmap(model, randomness="different")(logits)
    model.eval()
    assert torch.func.grad(model)(logits).shape == (1, 2)
    assert seen(model.estimator)[0] == pytest.approx(0.1)


@pytest.mark.filterwarnings("ignore")  # what the compiler warns of is its own affair
@pytest.mark.parametrize("repeated", [False, True], ids=["plain", "checkpoint"])
def test_compiled_it_moves_once(repeated):
    """Of one call in a graph; several are taken in the order of the backward pass."""
    gradients, means = [], []
    torch.compiler.reset()
    for compiled in (False, True):
        estimator = score_function(1)
        function = value_of(estimator)
        if repeated:
            function = lambda logits, call=function: checkpoint(call, logits, use_reentrant=False)  # noqa: E731
        if compiled:
            function = torch.compile(function, fullgraph=True, backend="aot_eager")
        for _ in range(2):
            logits = logits_of()
            function(logits).backward()
            gradients.append(logits.grad)
        means.append(seen(estimator))
    torch.testing.assert_close(gradients[:2], gradients[2:])
    assert means[0] == pytest.approx(means[1])
    assert means[0][0] == pytest.approx(0.19)


@pytest.mark.filterwarnings("ignore")
def test_compiled_calls_whose_passes_overlap():
    """A compiler that saves memory takes the state of the forward pass for that of the backward pass."""
    torch.compiler.reset()
    compiled, plain = score_function(1), score_function(1)
    function = torch.compile(value_of(compiled), fullgraph=True, backend="aot_eager_decomp_partition")
    for call, estimator in ((function, compiled), (value_of(plain), plain)):
        for _ in range(2):
            logits = logits_of()
            (call(logits) + call(2 * logits)).backward()
        late = call(logits_of(0.0, 0.5))
        call(logits).backward()
        late.backward()
        assert seen(estimator) == pytest.approx((1 - 0.9**6, 3.0))
    logits = logits_of(), logits_of()
    (function(logits[0]) + function(2 * logits[0]) + value_of(plain)(logits[1])).backward()
    assert all(each.grad.abs().max() < 1e-5 for each in logits)  # f is 3, and so is b
