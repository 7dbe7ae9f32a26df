"""Beside a masked expert whose weights are NaN or infinite gradients are those of the mixture without it, its own 0."""

import contextlib

import pytest
import torch
from torch import nn

import gatewise as gw
from gatewise.metrics.regression import NumberTally
from gatewise.mixture import MLPBank, by_leaf
from tests.mixture.models import CLASSES, EXPERTS, FEATURES, ROWS, data
from tests.objectives.cases import Masking

MASKED = [0, 3]
OTHERS = [1, 2, 4]
NUMBERS = [torch.nan, torch.inf, -torch.inf]
HEADS = {
    "categorical": (gw.mixture.Categorical(), CLASSES),
    "gaussian": (gw.mixture.Gaussian(), 2),
    "student-t": (gw.mixture.StudentT(), 3),
    "poisson": (gw.mixture.Poisson(), 1),
    "bernoulli": (gw.mixture.Bernoulli(), CLASSES),
}


def bank(number, hidden=(6, 5), outputs=CLASSES, dropout=0.0, strategy="auto"):
    """All weights of the masked experts are the number."""
    torch.manual_seed(3)
    made = MLPBank(EXPERTS, FEATURES, list(hidden), outputs, dropout, strategy=strategy).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.uniform_(-1, 1)
            parameter[MASKED] = number
    return made


def masked(experts, head=None):
    """A mixture with a trunk that shares its gate and trunk with one without the masked experts."""
    torch.manual_seed(4)
    gate = nn.Linear(FEATURES, EXPERTS, dtype=torch.float64)
    trunk = nn.Linear(FEATURES, FEATURES, dtype=torch.float64)
    return gw.MixtureOfExperts(Masking(gate, MASKED), experts, trunk=trunk, head=head)


class Few(nn.Module):
    """A gate of the others alone."""

    def __init__(self, gate):
        super().__init__()
        self.gate = gate

    def forward(self, x):
        return self.gate(x)[:, OTHERS]


def without(mixture):
    """The mixture of the others, of the same gate and trunk, and copies of the experts."""
    members = mixture.experts.expert if isinstance(mixture.experts, MLPBank) else mixture.experts.members.__getitem__
    kept = [members(k) for k in OTHERS]
    return gw.MixtureOfExperts(Few(mixture.gate.gate), kept, trunk=mixture.trunk, head=mixture.head)


def of_shared(mixture):
    """The gradients of trunk and gate."""
    return [parameter.grad for part in (mixture.trunk, mixture.gate) for parameter in part.parameters()]


def slopes(value, mixture, **options):
    """The gradients of trunk and gate, and of the experts: those of the masked ones, and those of the others."""
    value.backward(**options)
    shared = of_shared(mixture)
    if isinstance(mixture.experts, MLPBank):
        grads = [parameter.grad for parameter in mixture.experts.parameters()]
        return shared, [grad[MASKED] for grad in grads], [grad[OTHERS] for grad in grads]
    of = [[p.grad for p in member.parameters() if p.grad is not None] for member in mixture.experts.members]
    return shared, [grad for k in MASKED for grad in of[k]], [grad for k in OTHERS for grad in of[k]]


def assert_as_without(value_of, mixture):
    """A scalar of a mixture and its gradients are those of the mixture without the masked experts."""
    mixture.zero_grad()
    value = value_of(mixture)
    shared, own, others = slopes(value, mixture)
    assert all((slope == 0).all() for slope in own)
    assert any((slope != 0).any() for slope in others)
    assert all(slope.isfinite().all() for slope in others)
    mixture.zero_grad()
    right = value_of(other := without(mixture))
    torch.testing.assert_close(value, right)
    right.backward()
    torch.testing.assert_close(shared, of_shared(other))


@pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
@pytest.mark.parametrize("strategy", ["auto", "padded", "segments", "loop"])
@pytest.mark.parametrize("number", NUMBERS)
def test_in_a_bank_whatever_way_it_runs(number, strategy, hidden):
    x, y = data()
    assert_as_without(lambda mixture: mixture.log_prob(x, y).mean(), masked(bank(number, hidden, strategy=strategy)))


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("strategy", ["padded", "segments", "loop"])
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_in_short_types_and_with_dropout(dtype, autocast, strategy, dropout):
    mixture, (x, y) = masked(bank(torch.nan, dropout=dropout, strategy=strategy)).to(dtype), data(dtype)
    with torch.autocast("cpu", torch.bfloat16) if autocast else contextlib.nullcontext():
        value = mixture.log_prob(x, y).mean()
    shared, own, others = slopes(value, mixture)
    assert all(slope.isfinite().all() for slope in [*shared, *others])
    assert all((slope == 0).all() for slope in own)


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("head", HEADS)
def test_through_all_that_has_a_gradient(head, listed):
    kind, outputs = HEADS[head]
    x, y = data()
    y = y % 2 if head != "bernoulli" else torch.randint(2, (ROWS, CLASSES)).double()
    every = {"log p": lambda mixture: mixture.log_prob(x, y).mean()}
    if head == "categorical":
        every["forward"] = lambda mixture: mixture(x)[:, 0].mean()
    else:
        every["mean"] = lambda mixture: mixture.distribution(x).mean.mean()
        every["distribution"] = lambda mixture: mixture.distribution(x).log_prob(y.double()).mean()
    for value_of in every.values():
        experts = bank(torch.nan, outputs=outputs)
        assert_as_without(
            value_of, masked([experts.expert(k) for k in range(EXPERTS)] if listed else experts, head=kind)
        )


def test_a_gradient_of_a_gradient():
    mixture, (x, y) = masked(bank(torch.nan, strategy="padded")), data()
    (slope,) = torch.autograd.grad(mixture.log_prob(x, y).mean(), [mixture.trunk.weight], create_graph=True)
    shared, own, others = slopes(slope.square().sum(), mixture)
    assert all(found.isfinite().all() for found in [*shared, *others])
    assert all((found == 0).all() for found in own)


@pytest.mark.parametrize("listed", [False, True])
def test_where_every_expert_sees_the_whole_batch(listed):
    """As experts with batch normalisation do; the bank is one that is told to."""
    x, y = data()
    if listed:
        members = [bank(torch.nan).expert(k) for k in range(EXPERTS)]
        members[OTHERS[0]] = nn.Sequential(members[OTHERS[0]], nn.BatchNorm1d(CLASSES, dtype=torch.float64))
        experts = gw.mixture.ExpertList(members)
    else:
        experts = type("Whole", (MLPBank,), {"whole_batch": True})(EXPERTS, FEATURES, [6, 5], CLASSES).double()
        experts.load_state_dict(bank(torch.nan).state_dict())
    assert experts.whole_batch
    assert_as_without(lambda mixture: mixture.log_prob(x, y).mean(), masked(experts))
    assert_as_without(lambda mixture: mixture(x)[:, 0].mean(), masked(experts))


@pytest.mark.filterwarnings("ignore:The .grad attribute")
def test_in_a_compiled_graph():
    """There nobody can look at the mask."""
    x, y = data()

    def value_of(mixture):
        return torch.compile(lambda x: mixture.log_prob(x, y).mean(), backend="eager", fullgraph=True)(x)

    assert_as_without(value_of, masked(bank(torch.nan)))


def test_per_row_gradients_by_vmap():
    mixture, (x, y) = masked(bank(torch.nan)), data()
    parameters = dict(mixture.named_parameters())

    def loss(parameters, x, y):
        arguments = (x.unsqueeze(0), y.unsqueeze(0))
        return torch.func.functional_call(
            _LogProb(mixture), {f"mixture.{k}": v for k, v in parameters.items()}, arguments
        )

    found = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(parameters, x, y)
    slopes(mixture.log_prob(x, y).sum(), mixture)
    for name, parameter in mixture.named_parameters():
        torch.testing.assert_close(found[name].sum(0), parameter.grad)


class _LogProb(nn.Module):
    def __init__(self, mixture):
        super().__init__()
        self.mixture = mixture

    def forward(self, x, y):
        return self.mixture.log_prob(x, y).squeeze(0)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_masked_mixture_in_a_mixture(number):
    """Neither its gate nor its leaves reach anything."""
    torch.manual_seed(5)
    inner = [gw.MixtureOfExperts(nn.Linear(FEATURES, 2), MLPBank(2, FEATURES, [6], CLASSES)) for _ in range(EXPERTS)]
    mixture, (x, y) = masked(inner).double(), data()
    with torch.no_grad():
        for k in MASKED:
            for parameter in inner[k].parameters():
                parameter.fill_(number)
    flat = by_leaf(mixture)
    torch.testing.assert_close(flat.log_prob(x, y), mixture.log_prob(x, y))
    assert_as_without(lambda m: (by_leaf(m) if m is mixture else m).log_prob(x, y).mean(), mixture)
    assert_as_without(lambda m: (by_leaf(m) if m is mixture else m)(x)[:, 0].mean(), mixture)


@pytest.mark.filterwarnings("ignore:The .grad attribute")
@pytest.mark.parametrize(("number", "compiled"), [*((number, False) for number in NUMBERS), (torch.nan, True)])
@pytest.mark.parametrize(("router", "k"), [(name, 1) for name in gw.nn.routers.names()] + [("softmax", EXPERTS)])
def test_in_a_layer(router, k, number, compiled):
    torch.manual_seed(6)
    layer = gw.nn.MoELayer(FEATURES, bank(number), router=router, k=k).double()
    scores = layer.router.scores
    mask = torch.zeros(EXPERTS, dtype=torch.float64).index_fill(0, torch.tensor(MASKED), -torch.inf)
    layer.router.scores = lambda x: scores(x) + mask
    x = data()[0].requires_grad_()
    y, routing = (torch.compile(layer, backend="eager") if compiled else layer)(x)
    assert y.isfinite().all()
    (y.square().sum() + routing.balance_loss() + routing.z_loss()).backward()
    assert x.grad.isfinite().all()
    for name, parameter in layer.named_parameters():
        if name.startswith("experts"):
            assert (parameter.grad[MASKED] == 0).all()
        assert parameter.grad is None or parameter.grad.isfinite().all()


def test_figures_of_numbers_are_those_of_the_others():
    """Among them those that take quantiles."""
    (x, y), found = data(), []
    mixture = masked(bank(torch.nan, outputs=2), head=gw.mixture.Gaussian())
    for each in (mixture, without(mixture)):
        tally = NumberTally(each)
        tally.update(x, y.double())
        result = tally.result()
        found.append({name: result[name] for name in ("nll", "rmse", "crps", "coverage_90", "width_90")})
    assert found[0] == pytest.approx(found[1])
