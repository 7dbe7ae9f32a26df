"""Gates: their formula, derivatives, masks under every objective, the noise of top-k, and the balance bias."""

import math

import pytest
import torch
from torch import nn

import gatewise as gw
from gatewise.mixture import BalanceBias, ConvGate, Gate, NoisyTopK, entmax15, mlp, sparsemax
from gatewise.mixture.gates.gate import GATE_MAPS
from tests.chance import seeded
from tests.mixture.models import EXPERTS, FEATURES, bank_mixture, counting_mixture, data
from tests.objectives.cases import CASES

FUNCTIONS = {"softmax": lambda scores: scores.softmax(-1), "sparsemax": sparsemax, "entmax15": entmax15}
each_map = pytest.mark.parametrize("name", GATE_MAPS)


def made(network=None, experts=EXPERTS, dtype=torch.float64, **options):
    torch.manual_seed(5)
    return Gate(network or mlp(FEATURES, [6], experts), experts, **options).to(dtype)


# What they compute


@each_map
@pytest.mark.parametrize("temperature", [1.0, 0.4])
@pytest.mark.parametrize("balance", [False, True])
def test_the_formula(name, temperature, balance):
    gate, (x, _) = made(map=name, temperature=temperature, balance=balance), data()
    scores = gate.network(x) / temperature
    if balance:
        gate.balance.bias += torch.linspace(-1, 1, EXPERTS)
        scores = scores + torch.linspace(-1, 1, EXPERTS).double()
    logits = gate(x)
    torch.testing.assert_close(logits.softmax(-1), FUNCTIONS[name](scores))
    assert ((logits == -torch.inf) == (FUNCTIONS[name](scores) == 0)).all()


def test_a_plain_gate_is_its_network():
    gate, (x, _) = made(), data()
    assert torch.equal(gate(x), gate.network(x))


@each_map
def test_the_derivatives(name):
    gate = made(map=name, temperature=1.3, balance=True)
    x, parameters = data()[0], list(gate.parameters())

    def probabilities(*_):
        return gate(x).softmax(-1)

    assert torch.autograd.gradcheck(probabilities, parameters, eps=1e-7, atol=1e-5)


def test_the_derivatives_of_top_k():
    gate = made(top_k=2, noise_features=FEATURES, temperature=1.3)
    x = data()[0]

    def probabilities(*_):
        torch.manual_seed(0)  # the same noise each time
        return gate(x).softmax(-1)

    assert torch.autograd.gradcheck(probabilities, list(gate.parameters()), eps=1e-7, atol=1e-5)


def test_the_logits_are_wide_whatever_the_network_puts_out():
    for options in ({}, {"map": "sparsemax"}, {"top_k": 2, "noise_features": FEATURES, "temperature": 1.3}):
        gate = made(dtype=torch.bfloat16, **options)
        assert gate(data(torch.bfloat16)[0]).dtype == torch.float32
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert made(dtype=torch.float32, **options)(data(torch.float32)[0]).dtype == torch.float32


@pytest.mark.parametrize("shape", [(8, 8), (3, 8, 8)], ids=str)
def test_a_convolutional_gate(shape):
    images = torch.randn(4, *shape, generator=seeded(1))
    gate = made(ConvGate(shape, EXPERTS), dtype=torch.float32, top_k=2, noise_features=math.prod(shape))
    assert ((gate(images) > -torch.inf).sum(-1) == 2).all()
    with pytest.raises(gw.GatewiseError, match=r"convolutional gate needs images.*gate = 'mlp'"):
        ConvGate((64,), EXPERTS)


# Top-k


def test_top_k_keeps_the_k_highest_and_their_odds():
    gate, (x, _) = made(top_k=2), data()
    scores, logits = gate.network(x), gate(x)
    kept = logits > -torch.inf
    assert (kept.sum(-1) == 2).all()
    assert (scores.masked_fill(kept, -torch.inf).amax(-1) < scores.masked_fill(~kept, torch.inf).amin(-1)).all()
    assert torch.equal(logits[kept], scores[kept])
    assert (made(top_k=3)(torch.zeros_like(x)) > -torch.inf).sum(-1).eq(3).all()
    ties = NoisyTopK(2, 4)(torch.zeros(3, 4))
    assert (ties > -torch.inf).sum(-1).eq(2).all()


def test_the_noise_has_the_scale_that_x_asks_for():
    """Mean and variance of 40,000 draws for each of 3 experts, each within 5 standard errors: a false alarm in 3e5.

    It would see a scale that is wrong by 2 %, such as softplus of another sign.
    """
    top_k = NoisyTopK(3, 3, noise_features=2)
    with torch.no_grad():
        top_k.noise_weight.copy_(torch.tensor([[1.0, -2.0, 0.0], [0.5, 0.0, 3.0]]))
    x = torch.tensor([[1.0, 2.0]]).expand(40_000, -1)
    torch.manual_seed(1)
    scores = torch.tensor([1.0, -1.0, 0.0]).expand(40_000, -1)
    z = (top_k.perturb(scores, x) - scores) / torch.tensor([2.0, -2.0, 6.0]).exp().log1p()
    assert (z.mean(0).abs() < 5 / 200).all()
    assert ((z.var(0) - 1).abs() < 5 * math.sqrt(2 / 40_000)).all()


def test_the_noise_is_torch_s_own_and_of_training_alone():
    gate, (x, _) = made(top_k=2, noise_features=FEATURES), data()
    torch.manual_seed(3)
    first, second = gate(x), gate(x)
    torch.manual_seed(3)
    assert torch.equal(gate(x), first)
    assert not torch.equal(first, second)
    assert torch.equal(gate.eval()(x), gate(x))
    assert (gate(x) > -torch.inf).sum(-1).eq(2).all()


def test_the_scale_of_the_noise_is_learned():
    mixture, (x, y) = bank_mixture(), data()
    mixture.gate = made(top_k=2, noise_features=FEATURES)
    gw.objectives.get("jensen")(mixture.observe(x, y)).value.sum().backward()
    assert mixture.gate.top_k.noise_weight.grad.norm() > 0


class Top(nn.Module):
    """What `NoisyTopK` refuses: one expert, with probability 1."""

    def __init__(self, gate):
        super().__init__()
        self.gate = gate

    def forward(self, x):
        scores = self.gate(x)
        return scores.masked_fill(scores < scores.amax(-1, keepdim=True), -torch.inf)


@pytest.mark.parametrize("name", ["marginal", "jensen"])
def test_why_k_of_1_is_refused(name):
    """The gate's gradient is exactly 0, of the likelihood and of its bound, and not with k = 2."""
    norms = []
    for cut in (Top, lambda network: made(network, top_k=2)):
        mixture, (x, y) = bank_mixture(), data()
        mixture.gate = cut(mixture.gate)
        gw.objectives.get(name)(mixture.observe(x, y)).value.sum().backward()
        norms.append(sum(p.grad.norm().item() for p in mixture.gate.parameters()))
    assert norms[0] == 0 < norms[1]


def test_enumeration_of_the_support_runs_k_experts_and_is_exact():
    mixture, (x, y) = counting_mixture(), data()
    mixture.gate = made(top_k=2)
    gradients = []
    for support_only in (True, False):
        estimator = gw.estimators.get("enumeration", support_only=support_only)
        value = gw.objectives.get("jensen", estimator=estimator)(mixture.observe(x, y)).value
        if support_only:
            assert sum(member.rows for member in mixture.experts.members) == 2 * len(x)
        gradients.append([value, *torch.autograd.grad(value.sum(), list(mixture.parameters()), materialize_grads=True)])
    torch.testing.assert_close(*gradients)


# Under every objective

SPARSE = {"sparsemax": {"map": "sparsemax"}, "entmax15": {"map": "entmax15"}, "top 2": {"top_k": 2}}


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("kind", SPARSE)
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_every_objective_bears_the_masks(case, kind, scale):
    """Value and every gradient are finite, in float32, for a batch, for one row, and for one expert."""
    for experts, rows in ((EXPERTS, 7), (EXPERTS, 1), (1, 7)):
        if experts == 1 and kind == "top 2":
            continue
        mixture = bank_mixture(torch.float32, experts=experts)
        mixture.gate = made(nn.Linear(FEATURES, experts), experts, torch.float32, temperature=1.3, **SPARSE[kind])
        with torch.no_grad():
            mixture.gate.network.weight.mul_(scale)
        objective = case.make(experts, torch.float32)
        x, y = (part[:rows] for part in data(torch.float32))
        value = objective(mixture.observe(x, y), generator=seeded(2)).value
        value.sum().backward()
        assert value.isfinite().all()
        parameters = [*mixture.parameters(), *objective.parameters()]
        assert all(p.grad is None or p.grad.isfinite().all() for p in parameters)


@pytest.mark.parametrize("kind", SPARSE)
@pytest.mark.parametrize("route", ["mixture", "top1", "topk"])
def test_every_route_predicts(kind, route):
    mixture = bank_mixture()
    mixture.gate = made(**SPARSE[kind])
    probs = mixture.predict_proba(data()[0], route, k=3)
    torch.testing.assert_close(probs.sum(-1), torch.ones_like(probs[:, 0]))


# The balance bias


def test_an_update_goes_against_the_load():
    balance = BalanceBias(4)
    balance.update(torch.tensor([10.0, 2.0, 4.0, 0.0]), 0.1)  # the mean load is 4
    torch.testing.assert_close(balance.bias, torch.tensor([-0.1, 0.1, 0.0, 0.1]))
    torch.testing.assert_close(balance(torch.ones(2, 4))[1], torch.tensor([0.9, 1.1, 1.0, 1.1]))


def test_the_bias_is_saved_with_the_weights_and_has_no_gradient():
    gate = made(balance=True)
    gate.balance.update(torch.arange(EXPERTS), 0.5)
    other = made(balance=True)
    other.load_state_dict(gate.state_dict())
    assert torch.equal(other(data()[0]), gate(data()[0]))
    assert "balance.bias" in gate.state_dict()
    assert "balance.bias" not in dict(gate.named_parameters())


def test_passing_rows_never_moves_it():
    gate = made(balance=True)
    for mode in (True, False):
        gate.train(mode)(data()[0]).sum().backward()
    assert torch.equal(gate.balance.bias, torch.zeros(EXPERTS, dtype=torch.float64))


# Words


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"map": "sparse-max"}, "did you mean 'sparsemax'"),
        ({"temperature": 0.0}, "must be a number above 0, got 0.0"),
        ({"temperature": "learnt"}, "must be a number above 0, got 'learnt'"),
        ({"temperature": True}, "must be a number above 0"),
        ({"top_k": 1}, "take k from 2, or a whole gate with the estimator 'score-function'"),
        ({"top_k": EXPERTS + 1}, f"takes k from 2 to {EXPERTS}, got {EXPERTS + 1}"),
        ({"top_k": 2, "map": "entmax15"}, "leave top-k out"),
        ({"noise_features": 4}, "give top_k as well"),
    ],
)
def test_refusals(options, said):
    with pytest.raises(gw.GatewiseError) as error:
        made(**options)
    assert said in str(error.value)


def test_other_refusals():
    with pytest.raises(gw.GatewiseError, match="a mixture of 1 expert has none to leave out"):
        NoisyTopK(2, 1)
    with pytest.raises(gw.GatewiseError, match=r"put out shape \[7, 5\] for 7 rows; it must be \[7, 4\]"):
        made(mlp(FEATURES, [], 5), 4)(data()[0])
