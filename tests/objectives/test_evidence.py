"""The evidence bound: tight with the exact posterior, amortised by any estimator."""

import pytest
import torch
from torch import nn

import gatewise as gw
from gatewise.config import LoopConfig
from gatewise.objectives import Evidence, InferenceNetwork, Marginal
from gatewise.objectives.evidence import LogRatio
from gatewise.training.step import TrainStep
from tests.chance import seeded
from tests.estimators.cases import CASES as ESTIMATOR_CASES
from tests.mixture.models import CLASSES, EXPERTS, FEATURES, ROWS, bank_mixture, counting_mixture, data

from .cases import DEFINITIONS, LISTED_ESTIMATORS, derivatives, expected


def amortised(estimator="enumeration", num_samples=1, experts=EXPERTS, dtype=torch.float64):
    torch.manual_seed(7)
    network = InferenceNetwork(experts, FEATURES, CLASSES).to(dtype)
    return Evidence("amortised", estimator, num_samples, inference=network)


def with_context(case):
    options = dict(case.options)
    if "context_dim" in options:
        options["context_dim"] = FEATURES
    return gw.estimators.get(case.name, **options)


def test_with_the_exact_posterior_it_is_the_marginal_and_has_its_gradient():
    """Fisher's identity, to 1e-10: EM's gradient, with responsibilities held fixed, is the marginal's."""
    mixture = bank_mixture()
    parameters = list(mixture.parameters())
    found, right = (objective(mixture.observe(*data())).value for objective in (Evidence(), Marginal()))
    torch.testing.assert_close(found, right, rtol=0, atol=1e-12)
    for first, second in zip(
        torch.autograd.grad(found.sum(), parameters), torch.autograd.grad(right.sum(), parameters), strict=True
    ):
        assert second.norm() > 0
        torch.testing.assert_close(first, second, rtol=0, atol=1e-10)


def test_it_is_tight_at_the_posterior_and_below_it_elsewhere():
    mixture, (x, y) = bank_mixture(), data()

    class Given(nn.Module):
        shift = 0.0

        def forward(self, features, y):
            return mixture.observe(x, y).log_posterior().detach() + self.shift * torch.arange(EXPERTS)

    given = Given()
    bound = Evidence("amortised", inference=given)
    torch.testing.assert_close(bound(mixture.observe(x, y)).value, mixture.log_prob(x, y))
    given.shift = 0.5
    assert (bound(mixture.observe(x, y)).value < mixture.log_prob(x, y) - 1e-3).all()


def test_points_agree_with_the_categories_at_the_corners():
    observed = bank_mixture().observe(*data())
    ratio = LogRatio(observed, torch.randn(ROWS, EXPERTS, dtype=torch.float64).log_softmax(-1))
    for expert in range(EXPERTS):
        index = torch.full((1, ROWS), expert)
        corner = nn.functional.one_hot(index, EXPERTS).double()
        torch.testing.assert_close(ratio.at_index(index)[0], ratio.at_all()[:, expert])
        torch.testing.assert_close(ratio.at_point(corner)[0], ratio.at_all()[:, expert])
    assert (ratio.at_index(torch.full((1, ROWS), -1)) == 0).all()


@pytest.mark.parametrize("case", LISTED_ESTIMATORS, ids=str)
def test_what_an_estimator_claims_holds_for_the_bound(case):
    """By enumeration, to 1e-10. Gate and experts are the parameters of f; q's own are the logits, which f holds too."""
    mixture, (x, y) = bank_mixture(), (part[:1] for part in data())
    objective = amortised(with_context(case), case.counts(2)[0]).double()
    right = derivatives(DEFINITIONS["evidence"](mixture.observe(x, y), objective).sum(), mixture, objective)
    found = expected(objective, mixture, x, y)
    claimed = objective.estimator.unbiased
    torch.testing.assert_close(found[0], right[0], rtol=0, atol=1e-10)
    checked = [(found[1], right[1]), (found[2], right[2]), *([(found[3], right[3])] if "logits" in claimed else [])]
    for first, second in ((a, b) for mine, exact in checked for a, b in zip(mine, exact, strict=True)):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-10)


@pytest.mark.parametrize("case", ESTIMATOR_CASES, ids=str)
def test_it_runs_with_every_estimator(case):
    mixture = bank_mixture(torch.float32)
    objective = amortised(with_context(case), case.counts(4)[0], dtype=torch.float32)
    estimate = objective(mixture.observe(*data(torch.float32)), generator=seeded(1))
    assert estimate.info.evaluations.max() <= objective.evaluations(EXPERTS)
    loss = -estimate.value.mean()
    if estimate.control_loss is not None:
        loss = loss + estimate.control_loss
    loss.backward()
    for parameter in (*mixture.parameters(), *objective.parameters()):
        assert parameter.grad.isfinite().all()
    assert objective.inference.network[-1].weight.grad.norm() > 0


def test_only_the_experts_that_q_drew_are_run():
    mixture, objective = counting_mixture(), amortised("score-function", 2)
    estimate = objective(mixture.observe(*data()), generator=seeded(1))
    ran = sum(expert.rows for expert in mixture.experts.members)
    assert ran == estimate.info.evaluations.sum() <= 2 * ROWS


def test_the_optimiser_sees_the_inference_network():
    mixture, objective = bank_mixture(torch.float32), amortised(dtype=torch.float32)
    train_step = TrainStep(mixture, objective, [], LoopConfig(), steps=2)
    own = train_step.optimiser.param_groups[-1]
    assert {id(p) for p in own["params"]} == {id(p) for p in objective.inference.parameters()}
    assert own["weight_decay"] == 0
    assert not list(Evidence().parameters())


def test_the_trunk_learns_nothing_from_q():
    trunk = nn.Linear(FEATURES, FEATURES, dtype=torch.float64)
    mixture = bank_mixture(trunk=trunk)
    objective = amortised()
    objective.posterior_logits(mixture.observe(*data())).sum().backward()
    assert trunk.weight.grad is None


def test_it_learns_the_posterior():
    """With the mixture held fixed, q comes to within 0.01 nats of the marginal, from 0.2 or more below."""
    mixture, objective = bank_mixture(), amortised()
    x, y = data(rows=32)
    gaps = []
    optimiser = torch.optim.Adam(objective.parameters(), lr=0.02)
    for _ in range(400):
        bound = objective(mixture.observe(x, y)).value.mean()
        gaps.append((mixture.log_prob(x, y).mean() - bound).item())
        optimiser.zero_grad()
        (-bound).backward()
        optimiser.step()
    assert gaps[0] > 0.2
    assert gaps[-1] < 0.01


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"posterior": "learned"}, "unknown posterior 'learned'; choose one of exact, amortised"),
        ({"posterior": "amortised"}, "needs an inference network, or num_experts, context_dim and num_classes"),
        ({"estimator": "score-function"}, "the exact posterior takes no estimator"),
        ({"num_samples": 2}, "choose posterior='amortised'"),
        ({"inference": nn.Identity()}, "or inference network"),
    ],
)
def test_what_cannot_work_is_refused_when_made(options, said):
    with pytest.raises(gw.GatewiseError) as error:
        gw.objectives.get("evidence", **options)
    assert said in str(error.value)


def test_networks_of_another_shape_are_refused():
    observed = bank_mixture().observe(*data())
    with pytest.raises(gw.GatewiseError, match=r"put out shape \[7, 3\]; it must be \[7, 5\]"):
        amortised(experts=3)(observed)
    few = Evidence("amortised", num_experts=EXPERTS, context_dim=FEATURES, num_classes=2).double()
    with pytest.raises(gw.GatewiseError, match="was made for 2 classes, and y holds 2"):
        few(observed)


def test_costs():
    assert Evidence().evaluations(8) == 8
    assert amortised("score-function", 3).evaluations(8) == 3
