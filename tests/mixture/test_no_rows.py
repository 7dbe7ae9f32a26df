"""No rows: every head and every way of running gives the empty answer, and gradients of 0."""

import pytest
import torch
from torch import nn

import gatewise as gw
from gatewise.mixture import Bernoulli, Categorical, Gate, Gaussian, MLPBank, Poisson, StudentT, mlp
from tests.mixture.models import EXPERTS, FEATURES

HEADS = {
    "categorical": (Categorical(), 3, torch.zeros(0, dtype=torch.int64)),
    "gaussian": (Gaussian(), 2, torch.zeros(0)),
    "student-t": (StudentT(), 3, torch.zeros(0)),
    "poisson": (Poisson(), 1, torch.zeros(0)),
    "bernoulli": (Bernoulli(), 3, torch.zeros(0, 3)),
}
GATES = {
    "linear": lambda: nn.Linear(FEATURES, EXPERTS),
    "sparsemax": lambda: Gate(mlp(FEATURES, (), EXPERTS), EXPERTS, map="sparsemax"),
    "entmax15": lambda: Gate(mlp(FEATURES, (), EXPERTS), EXPERTS, map="entmax15"),
    "top-k": lambda: Gate(mlp(FEATURES, (), EXPERTS), EXPERTS, top_k=2, noise_features=FEATURES, balance=True),
}
EXPERTS_OF = {
    "list": lambda out: [mlp(FEATURES, (6,), out, 0.1) for _ in range(EXPERTS)],
    **{
        strategy: lambda out, strategy=strategy: MLPBank(EXPERTS, FEATURES, (6,), out, 0.1, strategy=strategy)
        for strategy in ("auto", "segments", "padded", "loop")
    },
}


@pytest.mark.parametrize("experts", EXPERTS_OF.values(), ids=EXPERTS_OF)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("gate", GATES.values(), ids=GATES)
def test_every_question_has_its_empty_answer(head, experts, gate):
    head, out, y = HEADS[head]
    mixture, x = gw.MixtureOfExperts(gate(), experts(out), head=head), torch.zeros(0, FEATURES)
    observed = mixture.observe(x, y)
    of_rows = {"log_prob": mixture.log_prob(x, y), "drawn": observed.at_index(torch.zeros(2, 0, dtype=torch.int64))[0]}
    of_experts = {"posterior": mixture.posterior(x, y), "gate": mixture.gate_proba(x), "all": observed.at_all()}
    for route in ("mixture", "top1", "topk"):
        if isinstance(head, Categorical):
            assert mixture.predict_proba(x, route).shape == (0, out)
            assert all(part.shape == (0,) for part in mixture.uncertainty(x, route))
        else:
            assert mixture.predict_mean(x, route).shape == (0, *(y.shape[1:] or (1,)))
    if isinstance(head, Categorical):
        assert mixture(x).shape == (0, out)
    else:
        assert mixture.distribution(x).batch_shape == (0,)
    for name, answer in (of_rows | of_experts).items():
        assert answer.shape == ((0,) if name in of_rows else (0, EXPERTS)), name
        assert answer.dtype == torch.float32, name
    for loss in (of_rows["log_prob"], of_rows["drawn"]):
        slopes = torch.autograd.grad(loss.sum(), list(mixture.experts.parameters()))
        assert all(slope.eq(0).all() for slope in slopes)


def test_rows_that_ask_nothing_give_zeros_and_gradients_of_0():
    for experts in EXPERTS_OF.values():
        mixture = gw.MixtureOfExperts(nn.Linear(FEATURES, EXPERTS), experts(3))
        observed = mixture.observe(torch.ones(4, FEATURES), torch.zeros(4, dtype=torch.int64))
        values = observed.at_index(torch.full((2, 4), -1))
        assert values.eq(0).all()
        assert values.shape == (2, 4)
        slopes = torch.autograd.grad(values.sum(), list(mixture.experts.parameters()))
        assert all(slope.eq(0).all() for slope in slopes)


def test_no_images():
    experts = [gw.mixture.ConvExpert((8, 8), 3) for _ in range(2)]
    mixture, x = gw.MixtureOfExperts(gw.mixture.ConvGate((8, 8), 2), experts), torch.zeros(0, 8, 8)
    for route in ("mixture", "top1", "topk"):
        assert mixture.predict_proba(x, route).shape == (0, 3)
    assert mixture.log_prob(x, torch.zeros(0, dtype=torch.int64)).shape == (0,)
