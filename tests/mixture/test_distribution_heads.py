"""Heads for numbers, counts and labels: their formulas, and every objective with each of them."""

import math

import pytest
import scipy.stats
import torch

import gatewise as gw
from gatewise.mixture import Bernoulli, Gaussian, Poisson, StudentT
from tests.chance import seeded
from tests.objectives.cases import CASES, DEFINITIONS, derivatives, expected

LABELS = 3
HEADS = {"Gaussian": Gaussian(), "StudentT": StudentT(), "Poisson": Poisson(), "Bernoulli": Bernoulli()}
every_head = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)


def targets(head, rows=7):
    generator = seeded(5)
    if isinstance(head, Bernoulli):
        return torch.randint(2, (rows, LABELS), generator=generator).double()
    if isinstance(head, Poisson):
        return torch.randint(6, (rows,), generator=generator).double()
    return torch.randn(rows, generator=generator, dtype=torch.float64)


def mixture_of(head, experts=5):
    torch.manual_seed(3)
    outputs = LABELS if head.outputs is None else head.outputs
    mixture = gw.MixtureOfExperts(torch.nn.Linear(4, experts), gw.MLPBank(experts, 4, (6,), outputs), head=head)
    for bias in mixture.experts.biases:
        torch.nn.init.uniform_(bias, -1, 1)
    return mixture.double()


def rows(head, count=7):
    return torch.randn(count, 4, generator=seeded(1), dtype=torch.float64), targets(head, count)


def softplus(value):
    return math.log1p(math.exp(value))


@pytest.mark.parametrize(
    ("head", "outputs", "y", "right"),
    [
        (Gaussian(0.01), [0.3, -0.5], 1.2, scipy.stats.norm(0.3, softplus(-0.5) + 0.01).logpdf(1.2)),
        (StudentT(0.01), [0.3, -0.5, 0.8], 9.0, scipy.stats.t(2 + softplus(0.8), 0.3, softplus(-0.5) + 0.01).logpdf(9)),
        (Poisson(), [1.4], 3.0, scipy.stats.poisson(softplus(1.4) + 1e-6).logpmf(3)),
        (Bernoulli(), [0.5, -2.0], [1.0, 0.0], -softplus(-0.5) - softplus(-2.0)),
    ],
    ids=HEADS,
)
def test_the_likelihood_is_that_of_the_formula(head, outputs, y, right):
    found = head.log_prob(torch.tensor(outputs, dtype=torch.float64), torch.tensor(y, dtype=torch.float64))
    assert found.item() == pytest.approx(right, rel=1e-9)


@every_head
@pytest.mark.parametrize("case", [case for case in CASES if "posterior" not in case.options], ids=str)
def test_every_objective_takes_it_unchanged(head, case):
    """Value and gradient in expectation over all that is drawn, against the objective's formula, to 1e-9."""
    mixture, objective = mixture_of(head), case.make()
    objective.set_progress(0.5)
    x, y = (part[2:3] for part in rows(head))
    right = derivatives(DEFINITIONS[case.name](mixture.observe(x, y), objective).sum(), mixture, objective)
    found = expected(objective, mixture, x, y)
    torch.testing.assert_close(found[0], right[0], rtol=1e-9, atol=1e-9)
    for mine, exact in zip(found[1:], right[1:], strict=True):
        for a, b in zip(mine, exact, strict=True):
            assert a.isfinite().all()
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


class Guess(torch.nn.Module):
    """q(z|x,y) for numbers and vectors."""

    def __init__(self, labels):
        super().__init__()
        self.linear = torch.nn.Linear(4 + labels, 5)

    def forward(self, features, y):
        return self.linear(torch.cat([features, y.reshape(len(features), -1)], -1))


@every_head
def test_amortised_inference_by_a_network_of_ones_own(head):
    mixture, (x, y) = mixture_of(head), (part[2:3] for part in rows(head))
    torch.manual_seed(8)
    guess = Guess(y.numel()).double()
    objective = gw.objectives.get("evidence", posterior="amortised", inference=guess)
    right = derivatives(DEFINITIONS["evidence"](mixture.observe(x, y), objective).sum(), mixture, objective)
    found = expected(objective, mixture, x, y)
    torch.testing.assert_close(found, right, rtol=1e-9, atol=1e-9)
    sizes = {"num_experts": 5, "context_dim": 4, "num_classes": 3}
    with pytest.raises(gw.GatewiseError, match="made for classes, and y holds numbers"):
        gw.objectives.get("evidence", posterior="amortised", **sizes).double()(mixture.observe(x, y))


@every_head
def test_extreme_outputs_have_finite_gradients(head):
    outputs = (torch.randn(50, 3, generator=seeded(4)) * 1e4)[:, : head.outputs].requires_grad_()
    y = targets(head, 50).float()
    value = head.log_prob(outputs, y)
    (gradient,) = torch.autograd.grad(value.sum(), outputs)
    assert value.isfinite().all()
    assert gradient.isfinite().all()


@every_head
def test_experts_asked_alone_answer_as_all_do(head):
    mixture, (x, y) = mixture_of(head), rows(head)
    everything = mixture.observe(x, y).at_all()
    index = torch.randint(5, (2, 7), generator=seeded(6))
    torch.testing.assert_close(mixture.observe(x, y).at_index(index), everything.T.gather(0, index))
    torch.testing.assert_close(mixture.distribution(x).log_prob(y), mixture.log_prob(x, y))


@every_head
def test_means_by_every_route(head):
    mixture, (x, _) = mixture_of(head), rows(head)
    gate = mixture.gate_proba(x).detach()
    means = head.mean(mixture.experts(x)).detach()
    right = (gate.unsqueeze(-1) * means).sum(1)
    torch.testing.assert_close(mixture.predict_mean(x), right)
    torch.testing.assert_close(mixture.predict_mean(x, "topk", k=5), right)
    torch.testing.assert_close(mixture.distribution(x).mean.detach().view_as(right), right)
    torch.testing.assert_close(mixture.predict_mean(x, "top1"), means[torch.arange(7), gate.argmax(1)])


@every_head
def test_narrow_outputs_are_widened(head):
    outputs = torch.randn(7, LABELS)[:, : head.outputs].bfloat16()
    assert head.log_prob(outputs, targets(head).bfloat16()).dtype == torch.float32
    assert head.mean(outputs).dtype == torch.float32


@pytest.mark.parametrize(
    ("head", "y", "said"),
    [
        (Poisson(), -torch.ones(7), "counts, numbers of at least 0, got -1"),
        (Poisson(), torch.full((7,), 2.5), r"counts, whole numbers, got 2\.5; try a Gaussian"),
        (Poisson(), torch.full((7,), math.inf), "finite numbers, got inf"),
        (Gaussian(), torch.full((7,), math.nan), "finite numbers, got nan; drop rows without a target"),
        (StudentT(), torch.full((7,), -math.inf), "finite numbers, got -inf"),
        (Bernoulli(), 2 * torch.ones(7, LABELS), "labels, 0 or 1, got 2 to 2"),
        (Bernoulli(), torch.full((7, LABELS), 0.5), r"labels, 0 or 1, got 0\.5"),
        (Bernoulli(), torch.full((7, LABELS), math.nan), "labels, 0 or 1, got nan"),
        (Bernoulli(), torch.ones(7), r"y must have shape \[7, L\], the labels of each row of x, got \[7\]"),
        (Bernoulli(), torch.ones(7, 2), "put out 3 numbers a row; the head Bernoulli takes 2"),
        (Gaussian(), torch.ones(7, 1), r"y must have shape \[7\], one target a row of x, got \[7, 1\]"),
    ],
)
def test_targets_that_cannot_be(head, y, said):
    mixture, x = mixture_of(head), rows(head)[0]
    with pytest.raises(gw.GatewiseError, match=said):
        mixture.log_prob(x, y)


@pytest.mark.parametrize(
    ("head", "y"), [(Poisson(), -1.0), (Poisson(), 2.5), (Bernoulli(), 0.5), (Bernoulli(), 2.0), (Gaussian(), math.nan)]
)
def test_what_is_not_looked_at_has_no_probability(head, y, monkeypatch):
    """On an accelerator nobody waits for a look: log p is -inf or NaN, at which training stops in a line."""
    monkeypatch.setattr("gatewise.mixture.heads.can_look", lambda y: False)
    targets = torch.full((2, LABELS) if head.event_dims else (2,), y)
    found = head.log_prob(torch.zeros(2, head.outputs or LABELS), targets)
    assert not found.isfinite().any()
    assert not (found == math.inf).any()
    assert head.distribution(torch.zeros(2, head.outputs or LABELS)).log_prob(targets).isfinite().sum() == 0


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own, when it first goes forward
@every_head
def test_it_can_be_differentiated_twice_and_under_vmap(head):
    outputs = torch.randn(4, head.outputs or LABELS, generator=seeded(2), dtype=torch.float64, requires_grad=True)
    y = targets(head, 4)
    assert torch.autograd.gradcheck(lambda o: head.log_prob(o, y), outputs)
    assert torch.autograd.gradgradcheck(lambda o: head.log_prob(o, y), outputs)
    (right,) = torch.autograd.grad(head.log_prob(outputs, y).sum(), outputs)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(head.log_prob))(outputs, y), right)
    along = torch.randn(outputs.shape, generator=seeded(3), dtype=torch.float64)
    found = torch.func.jvp(lambda o: head.log_prob(o, y), (outputs.detach(),), (along,))[1]
    torch.testing.assert_close(found, (right * along).sum(-1))
    twice = torch.autograd.functional.hessian(lambda o: head.log_prob(o, y[0]), outputs[0].detach())
    hessian = torch.func.vmap(torch.func.hessian(head.log_prob))(outputs.detach(), y)  # forward over backward
    torch.testing.assert_close(hessian[0], twice)


def test_the_variance_of_student_t_near_two_degrees_of_freedom():
    """ν / (ν - 2) with ν - 2 = softplus(o) = 4e-18, which ν itself does not hold."""
    distribution = StudentT().distribution(torch.tensor([[0.0, 0.0, -40.0]]))
    right = (softplus(0) + 1e-3) ** 2 * 2 / softplus(-40)
    assert distribution.variance.item() == pytest.approx(right, rel=1e-9)
    assert distribution.expand((3, 1)).variance.tolist() == [[pytest.approx(right, rel=1e-9)]] * 3


def test_what_has_no_classes_says_so():
    mixture, (x, _) = mixture_of(Gaussian()), rows(Gaussian())
    with pytest.raises(gw.GatewiseError, match="Gaussian has no classes"):
        mixture.predict_proba(x)
    classes = gw.MixtureOfExperts(torch.nn.Linear(4, 2), gw.MLPBank(2, 4, (), 3)).double()
    for ask in (classes.predict_mean, classes.distribution):
        with pytest.raises(gw.GatewiseError, match="Categorical is no distribution of numbers; use predict_proba"):
            ask(x)
    with pytest.raises(gw.GatewiseError, match="floor of a scale must be above 0"):
        Gaussian(0.0)


@every_head
def test_no_targets_are_no_wrong_ones(head):
    head.check(targets(head)[:0])
