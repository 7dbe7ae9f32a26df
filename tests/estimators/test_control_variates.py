"""MuProp, REBAR, RELAX and implicit MLE: what is learned, and what the inner derivatives come to."""

import pytest
import torch
from torch import nn

import gatewise as gw
from tests.chance import ALPHA, mean_p, seeded

LOGITS = torch.tensor([0.3, -0.5, 1.1, 0.0, 0.4], dtype=torch.float64)
WEIGHTS = torch.tensor([-1.2, 0.3, 0.9, 2.0, -0.4], dtype=torch.float64)


def linear(point):
    return point @ WEIGHTS.to(point.dtype)


def curved(point):
    return linear(point).sin() + linear(point) ** 2 / 2


def gradients(estimator, f=curved, draws=2000, seed=1, logits=LOGITS):
    leaf = logits.expand(draws, *logits.shape).clone().requires_grad_()
    estimate = gw.expect(f, leaf, estimator, generator=seeded(seed))
    return torch.autograd.grad(estimate.value.sum(), leaf)[0], estimate.control_loss


def exact(f):
    leaf = LOGITS.clone().requires_grad_()
    return torch.autograd.grad(leaf.softmax(-1) @ f(torch.eye(5, dtype=torch.float64)), leaf)[0]


# MuProp


def test_muprop_has_no_variance_on_a_linear_f():
    found, _ = gradients(gw.estimators.get("muprop"), linear)
    torch.testing.assert_close(found, exact(linear).expand_as(found))


# REBAR and RELAX


def relax(**options):
    torch.manual_seed(2)
    estimator = gw.estimators.get("relax", num_categories=5, **options).double()
    nn.init.normal_(estimator.last.weight, std=0.3)
    return estimator


CONTROLLED = {
    "rebar": lambda: gw.estimators.get("rebar", temperature=0.7, scale=0.6).double(),
    "relax": lambda: relax(temperature=0.7, scale=0.6),
    "relax, black box": lambda: relax(scale=0.6, black_box=True),
}
controlled = pytest.mark.parametrize("make", CONTROLLED.values(), ids=CONTROLLED)


@controlled
def test_the_control_loss_has_the_gradient_of_the_mean_squared_norm(make):
    """By central differences in every learned number, with the noise held fixed."""
    estimator = make()
    found = torch.autograd.grad(gradients(estimator, draws=50)[1], list(estimator.parameters()))
    for parameter, slopes in zip(estimator.parameters(), found, strict=True):
        flat = parameter.data.view(-1)
        for entry in range(0, flat.numel(), max(1, flat.numel() // 7)):
            reached = []
            for step in (1e-5, -1e-5):
                flat[entry] += step
                reached.append(gradients(estimator, draws=50)[0].square().sum(-1).mean().item())
                flat[entry] -= step
            assert slopes.view(-1)[entry].item() == pytest.approx((reached[0] - reached[1]) / 2e-5, rel=1e-4, abs=1e-7)


@controlled
def test_what_is_learned_lowers_the_variance(make):
    estimator = make()
    before = gradients(estimator, seed=0)[0].var(0).sum()
    optimiser = torch.optim.Adam(estimator.parameters(), lr=0.02)
    for step in range(150):
        optimiser.zero_grad()
        gradients(estimator, draws=200, seed=step)[1].backward()
        optimiser.step()
    assert gradients(estimator, seed=0)[0].var(0).sum() < 0.9 * before


def test_relax_starts_as_rebar():
    fresh = gw.estimators.get("relax", num_categories=5).double()
    assert torch.equal(gradients(fresh)[0], gradients(gw.estimators.get("rebar").double())[0])


def test_what_is_not_learned_is_no_parameter_and_is_kept():
    fixed = gw.estimators.get("rebar", scale=0.3, learn_temperature=False, learn_scale=False)
    assert list(fixed.parameters()) == []
    assert gradients(fixed.double())[1] is None
    assert fixed.state_dict()["scale"] == pytest.approx(0.3)
    scale_alone = gw.estimators.get("rebar", learn_temperature=False)
    assert [name for name, _ in scale_alone.named_parameters()] == ["scale"]


def test_without_a_learned_temperature_f_is_not_differentiated_twice():
    class Once(torch.autograd.Function):
        """The sum of squares, with a derivative that has none."""

        @staticmethod
        def forward(ctx, point):
            ctx.save_for_backward(point)
            return point.square().sum(-1)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, upstream):
            (point,) = ctx.saved_tensors
            return 2 * point * upstream.unsqueeze(-1)

    estimator = gw.estimators.get("rebar", learn_temperature=False).double()
    found, control_loss = gradients(estimator, lambda point: Once.apply(point) + linear(point))
    right, control_right = gradients(estimator, lambda point: point.square().sum(-1) + linear(point))
    torch.testing.assert_close(found, right)
    torch.testing.assert_close(control_loss, control_right)


def test_where_f_has_no_second_derivative_nothing_is_learned():
    """|a|^1.5 at a = 0: a derivative, and no second one."""

    def kinked(point):
        return (point[..., 0] - point[..., 0].detach()).abs().pow(1.5) + linear(point)

    found, control_loss = gradients(relax(), kinked, draws=20)
    assert found.isfinite().all()
    assert control_loss.isfinite()


def test_relax_as_a_black_box_asks_f_for_the_draws_alone():
    table = WEIGHTS.clone()
    logits = LOGITS.expand(20, 5).clone().requires_grad_()
    estimate = gw.expect(gw.by_index(lambda index: table[index]), logits, relax(black_box=True))
    assert (estimate.info.evaluations == 1).all()
    estimate.value.sum().backward()
    assert logits.grad.norm() > 0
    with pytest.raises(gw.GatewiseError, match="draws categories"):
        gw.expect(gw.by_index(lambda index: table[index]), logits, relax())


def test_relax_says_which_categories_and_which_context_it_was_made_for():
    with pytest.raises(gw.GatewiseError, match="made for 4 categories and got 5; make it with num_categories=5"):
        gradients(gw.estimators.get("relax", num_categories=4))
    with pytest.raises(gw.GatewiseError, match="'relax' was made for a context of 3 features and got none"):
        gradients(gw.estimators.get("relax", num_categories=5, context_dim=3))


@pytest.mark.parametrize("name", ["muprop", "rebar", "implicit-mle"])
def test_a_mixture_runs_its_experts_once(name):
    """The relaxed points need all experts; the draws then take what is there."""
    rows = []

    class Expert(nn.Linear):
        def forward(self, x):
            rows.append(len(x))
            return super().forward(x)

    torch.manual_seed(0)
    mixture = gw.MixtureOfExperts(nn.Linear(3, 4), [Expert(3, 2) for _ in range(4)])
    objective = gw.objectives.get("jensen", estimator=name)
    estimate = objective(mixture.observe(torch.randn(100, 3), torch.randint(0, 2, (100,))))
    assert sum(rows) == 400
    estimate.value.sum().backward()
    assert all(parameter.grad.norm() > 0 for parameter in mixture.experts.parameters())


@pytest.mark.parametrize("name", ["muprop", "rebar", "implicit-mle"])
def test_an_f_without_a_derivative_is_refused_in_a_sentence(name):
    for f in (lambda point: WEIGHTS[point.argmax(-1)], lambda point: linear(point).detach(), lambda p: 0 * WEIGHTS[0]):
        with pytest.raises(gw.GatewiseError, match=r"no derivative for the point|f returned"):
            gradients(gw.estimators.get(name), f)


# Implicit MLE


@pytest.mark.parametrize("step", [0.05, 1.0, 10.0])
def test_its_mean_on_a_linear_f(step):
    """E (z - z′)/λ = (softmax(θ) - softmax(θ - λ w))/λ: the gradient as λ → 0, and too short for a large λ."""
    found, _ = gradients(gw.estimators.get("implicit-mle", temperature=step), linear, 400_000)
    mean = (LOGITS.softmax(-1) - (LOGITS - step * WEIGHTS).softmax(-1)) / step
    assert mean_p(found, mean) > ALPHA
    length = mean @ exact(linear) / exact(linear).square().sum()
    assert (length > 0.9) == (step <= 1)
    assert length > 0.05


def test_the_upstream_gradient_does_not_enter_the_step():
    """The gradient of value / 1000 is a thousandth of that of value: ∂f/∂z is each example's own."""
    results = []
    for scale in (1.0, 1e-3):
        logits = LOGITS.expand(100, 5).clone().requires_grad_()
        value = gw.expect(curved, logits, gw.estimators.get("implicit-mle"), generator=seeded(3)).value
        results.append(torch.autograd.grad((scale * value).sum(), logits)[0] / scale)
    torch.testing.assert_close(*results)


def test_the_adaptive_step_grows_until_one_entry_moves():
    estimator = gw.estimators.get("implicit-mle", temperature=0.0001, adaptive=True, rate=0.01)
    for seed in range(400):
        gradients(estimator, draws=100, seed=seed)
    assert estimator.alpha > 0.05
    assert 0.7 < estimator.nonzero < 1.3
    held = estimator.alpha.clone()
    gradients(estimator.eval(), draws=100)
    assert torch.equal(estimator.alpha, held)


def test_the_adaptive_step_survives_a_flat_f_and_equal_logits():
    estimator = gw.estimators.get("implicit-mle", adaptive=True)
    for f, logits in ((lambda p: 0.0 * linear(p), LOGITS), (curved, torch.zeros(5, dtype=torch.float64))):
        assert gradients(estimator, f, logits=logits)[0].isfinite().all()


@pytest.mark.filterwarnings("ignore")  # of the compiler's own
@pytest.mark.parametrize("name", ["rebar", "relax"])
def test_in_a_step_that_is_compiled_it_runs_where_the_compiler_is_kept_out(name):
    estimator = gw.estimators.get(name, **({"num_categories": 5} if name == "relax" else {}))
    f = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(-2))

    @torch.compiler.disable
    def estimate(logits):
        return gw.expect(f, logits, estimator).value.sum()

    found = []
    torch.compiler.reset()
    step = lambda scores: 3 * estimate(scores.sin())  # noqa: E731
    for run in (step, torch.compile(step, backend="aot_eager")):
        torch.manual_seed(1)
        scores = torch.arange(10.0).view(2, 5).requires_grad_()
        found.append(torch.autograd.grad(run(scores), scores)[0])
    torch.testing.assert_close(*found)
