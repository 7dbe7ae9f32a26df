"""Straight-through and its kin: in expectation over D, by enumeration."""

import pytest
import torch

import gatewise as gw
from tests.chance import seeded
from tests.estimators.cases import POINT_CASES

LOGITS = torch.tensor([0.3, -0.5, 1.1, 0.0, 0.4], dtype=torch.float64)
WEIGHTS = torch.tensor([-1.2, 0.3, 0.9, 2.0, -0.4], dtype=torch.float64)
MATRIX = torch.linspace(-1, 1.5, 25, dtype=torch.float64).view(5, 5).sin()

LINEAR, QUADRATIC, CUBIC = (
    lambda p: p @ WEIGHTS,
    lambda p: ((p @ MATRIX) * p).sum(-1) + p @ WEIGHTS,
    lambda p: (p @ WEIGHTS) ** 3,
)


def exact(f):
    logits = LOGITS.clone().requires_grad_()
    return torch.autograd.grad(logits.softmax(-1) @ f(torch.eye(5, dtype=torch.float64)), logits)[0]


def expected(estimator, f):
    """E of the gradient over D, exact for an estimator with no other noise."""
    estimator.draw_index = lambda *_: torch.arange(5).unsqueeze(0)
    logits = LOGITS.clone().requires_grad_()
    value = gw.expect(f, logits.expand(5, 5), estimator).value
    return torch.autograd.grad(LOGITS.softmax(-1) @ value, logits)[0]


def away(estimator, f):
    return ((expected(estimator, f) - exact(f)).norm() / exact(f).norm()).item()


def test_straight_through_is_exact_on_a_linear_f_alone():
    assert away(gw.estimators.get("straight-through"), LINEAR) < 1e-14
    assert away(gw.estimators.get("straight-through"), QUADRATIC) > 0.02


def test_decoupled_is_straight_through_at_temperatures_of_1():
    for f in (LINEAR, QUADRATIC, CUBIC):
        torch.testing.assert_close(
            expected(gw.estimators.get("decoupled-straight-through"), f),
            expected(gw.estimators.get("straight-through"), f),
        )
    assert away(gw.estimators.get("decoupled-straight-through", temperature=0.5), LINEAR) > 0.05


def test_the_forward_temperature_changes_the_draw():
    estimator = gw.estimators.get("decoupled-straight-through", forward_temperature=0.25)
    points = estimator.draw(LOGITS.expand(100_000, 5), 1, seeded(1)).squeeze(0)
    wanted = (LOGITS / 0.25).softmax(-1)
    assert (points.mean(0) - wanted).abs().max() < 0.01
    assert (LOGITS.softmax(-1) - wanted).abs().max() > 0.2
    assert estimator.unbiased == frozenset()
    assert gw.estimators.get("decoupled-straight-through").unbiased == {"value", "parameters"}


def test_the_forward_temperature_follows_its_schedule():
    estimator = gw.estimators.get("decoupled-straight-through", forward_temperature="linear:2:1")
    assert estimator.forward_temperature == 2
    assert estimator.unbiased == frozenset()
    estimator.set_progress(1.0)
    assert estimator.unbiased == {"value", "parameters"}
    with pytest.raises(gw.GatewiseError, match="forward temperature must be positive"):
        gw.estimators.get("decoupled-straight-through", forward_temperature="linear:1:0")


def test_reinmax_is_exact_on_a_quadratic_f_at_temperature_1():
    assert away(gw.estimators.get("reinmax"), LINEAR) < 1e-14
    assert away(gw.estimators.get("reinmax"), QUADRATIC) < 1e-14
    assert away(gw.estimators.get("reinmax"), CUBIC) > 0.05


@pytest.mark.parametrize("temperature", [1e-4, 0.1, 0.7, 1.0, 1.5, 1e4])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 11.0, 1e4])
def test_reinmax_is_its_formula_at_every_temperature(scale, temperature):
    """2 J((softmax(θ/t) + D)/2) g - ½ J(π) g, written out, also at a D that softmax(θ/t) gives the probability 0."""
    logits = scale * LOGITS
    logits[3] = -torch.inf
    estimator = gw.estimators.get("reinmax", temperature=temperature)

    def times(q):
        return q * (WEIGHTS - (q * WEIGHTS).sum(-1, keepdim=True))

    for dtype, close in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        for drawn in (0, 1, 2, 4):
            estimator.draw_index = lambda *_, drawn=drawn: torch.tensor([drawn])
            leaf = logits.to(dtype).requires_grad_()
            (found,) = torch.autograd.grad(estimator.draw(leaf, 1).squeeze(0) @ WEIGHTS.to(dtype), leaf)
            middle = ((logits / temperature).softmax(-1) + torch.eye(5, dtype=torch.float64)[drawn]) / 2
            right = 2 * times(middle) - times(logits.softmax(-1)) / 2
            torch.testing.assert_close(found.double(), right, rtol=0, atol=close)


def test_reinmax_below_temperature_1_is_finite_at_a_rare_draw():
    logits = torch.tensor([0.0, -11.0]).expand(400_000, 2).clone().requires_grad_()
    points = gw.estimators.get("reinmax", temperature=0.1).draw(logits, 1, seeded(3))
    assert points[0, :, 1].sum() > 0
    (gradient,) = torch.autograd.grad((points @ torch.tensor([1.0, -2.0])).sum(), logits)
    assert points.isfinite().all()
    assert gradient.isfinite().all()


def test_reinmax_at_another_temperature_is_biased_on_a_linear_f():
    assert 0.05 < away(gw.estimators.get("reinmax", temperature=1.5), LINEAR) < 0.5


def gradients(estimator, draws, f=CUBIC):
    logits = LOGITS.expand(draws, 5).clone().requires_grad_()
    value = gw.expect(f, logits, estimator, generator=seeded(2)).value
    return torch.autograd.grad(value.sum(), logits)[0]


def compared(first, second):
    """The largest difference of the means in standard errors, and the ratio of the variances."""
    error = (first.var(0) / len(first) + second.var(0) / len(second)).sqrt()
    return ((first.mean(0) - second.mean(0)).abs() / error).max().item(), (first.var(0).sum() / second.var(0).sum())


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_gumbel_rao_has_the_mean_of_straight_through_gumbel_softmax_and_less_variance(temperature):
    plain = gradients(gw.estimators.get("straight-through-gumbel-softmax", temperature=temperature), 400_000)
    for replicates, most in ((1, 1.02), (10, 0.8), (100, 0.75)):
        rao = gw.estimators.get("gumbel-rao", temperature=temperature, replicates=replicates)
        apart, ratio = compared(gradients(rao, 40_000 if replicates == 100 else 200_000), plain)
        assert apart < 6
        assert ratio < most


def test_the_control_variate_of_reinmax_leaves_the_mean_and_adds_noise():
    """Given D plain ReinMax has no noise of its own, so that a control variate with mean 0 given D cannot help."""
    plain = gradients(gw.estimators.get("reinmax"), 400_000)
    estimator = gw.estimators.get("reinmax", variant="control-variate", temperature=0.5)
    apart, ratio = compared(gradients(estimator, 200_000), plain)
    assert apart < 6
    assert ratio > 1


def test_the_rao_blackwell_form_is_gumbel_rao_around_the_middle():
    """2 GR(θ_D) - ½ J(π), by hand, for the same noise."""
    estimator = gw.estimators.get("reinmax", variant="rao-blackwell", temperature=0.5, replicates=3)
    estimator.draw_index = lambda *_: torch.tensor([2])
    logits = LOGITS.clone().requires_grad_()
    (found,) = torch.autograd.grad(estimator.draw(logits, 1, seeded(4)).squeeze(0) @ WEIGHTS, logits)
    probs = LOGITS.softmax(-1)
    middle = ((probs + torch.eye(5)[2]) / 2).log()
    noisy = gw.noise.conditional_perturbed(middle.unsqueeze(0), torch.tensor([[2]]), 3, seeded(4)).squeeze(1)

    def times(q):
        return q * (WEIGHTS - (q * WEIGHTS).sum(-1, keepdim=True))

    by_hand = 2 * times((noisy / 0.5).softmax(-1)).mean(0) / 0.5 - times(probs) / 2
    torch.testing.assert_close(found, by_hand)


def test_gapped_keeps_its_gap():
    """The softmax that is differentiated stands at the moved logits; its value comes out with the gradient cut."""
    estimator = gw.estimators.get("gapped-straight-through", gap=1.0)
    for drawn in range(5):
        estimator.draw_index = lambda *_, drawn=drawn: torch.tensor([drawn])
        logits = LOGITS.clone().requires_grad_()
        (found,) = torch.autograd.grad(estimator.draw(logits, 1).squeeze(0) @ WEIGHTS, logits)
        moved = torch.minimum(LOGITS, LOGITS.max() - 1.0)
        moved[drawn] = LOGITS.max()
        q = moved.softmax(-1)
        torch.testing.assert_close(found, q * (WEIGHTS - q @ WEIGHTS))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own, when it first goes forward
@pytest.mark.parametrize("case", POINT_CASES, ids=str)
def test_the_derivative_forward_is_that_backward(case):
    """`torch.func.jvp` of the same draw gives ⟨gradient, tangent⟩."""
    estimator, tangent = case.make(), WEIGHTS.sin()

    def value(logits):
        return gw.expect(CUBIC, logits, estimator, num_samples=3, generator=seeded(3)).value

    along = torch.func.jvp(value, (LOGITS,), (tangent,))[1]
    torch.testing.assert_close(along, torch.func.grad(value)(LOGITS) @ tangent)


def test_the_adaptive_gap():
    estimator = gw.estimators.get("gapped-straight-through", gap="adaptive")
    log_probs = torch.tensor([0.5, 0.3, 0.2 - 1e-7, 1e-7], dtype=torch.float64).log()
    gaps = torch.stack([estimator.gap_for(log_probs, torch.tensor(i)) for i in range(4)]).squeeze(-1)
    expected_gaps = -torch.log1p(-log_probs.exp()) / log_probs.exp()
    torch.testing.assert_close(gaps, expected_gaps, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("gumbel-rao", {"replicates": 0}, "replicates must be a whole number of at least 1, got 0"),
        ("reinmax", {"variant": "rao"}, "unknown variant 'rao'; choose one of plain"),
        ("gapped-straight-through", {"gap": -1.0}, "gap must be"),
        ("gapped-straight-through", {"gap": "wide"}, "gap must be"),
        ("unordered-set", {"baseline": "learned"}, "unknown baseline 'learned'"),
        ("implicit-mle", {"rate": 0.0}, r"rate must be a number in \(0, 1\], got 0"),
        ("implicit-mle", {"rate": float("inf")}, r"rate must be a number in \(0, 1\], got inf"),
        ("rebar", {"scale": float("nan")}, r"scale must be a number in \[-100, 100\], got nan"),
        ("reinmax", {"scale": 1e30}, "scale must be a number in"),
        ("selected-relaxation", {"scale": float("inf")}, "scale must be a number in"),
        ("relax", {}, "needs the option num_categories"),
    ],
)
def test_options_that_cannot_be_are_refused_in_a_sentence(name, options, words):
    with pytest.raises(gw.GatewiseError, match=words):
        gw.estimators.get(name, **options)
