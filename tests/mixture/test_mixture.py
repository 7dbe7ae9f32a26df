"""The mixture against its definition, by a bank and by a list of modules alike."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import gatewise as gw
from gatewise.expectation import Integrand
from tests.chance import seeded
from tests.mixture.models import (
    CLASSES,
    EXPERTS,
    FEATURES,
    ROWS,
    bank_mixture,
    counting_mixture,
    data,
    list_mixture,
)


def both():
    bank = bank_mixture()
    return bank, list_mixture(bank)


@pytest.fixture(params=["bank", "list"])
def mixture(request):
    return both()[request.param == "list"]


def by_hand(mixture, x):
    """π `[B, K]` and p(y|z,x) `[B, K, C]`, one expert at a time."""
    experts = mixture.experts
    modules = experts.members if isinstance(experts, gw.ExpertList) else [experts.expert(k) for k in range(EXPERTS)]
    answers = torch.stack([module(x).softmax(-1) for module in modules], dim=1)
    return mixture.gate(x).softmax(-1), answers


# Against the definition


def test_log_prob_is_the_log_of_the_sum(mixture):
    x, y = data()
    gate, answers = by_hand(mixture, x)
    joint = gate * answers[torch.arange(ROWS), :, y]
    torch.testing.assert_close(mixture.log_prob(x, y), joint.sum(-1).log())
    torch.testing.assert_close(mixture.gate_proba(x), gate)
    torch.testing.assert_close(mixture.observe(x, y).log_joint(), joint.log())


def test_forward_has_every_class_and_sums_to_one(mixture):
    x, y = data()
    log_probs = mixture(x)
    assert log_probs.shape == (ROWS, CLASSES)
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(ROWS, dtype=torch.float64))
    torch.testing.assert_close(log_probs.gather(-1, y.unsqueeze(-1)).squeeze(-1), mixture.log_prob(x, y))


def test_posterior_is_bayes_and_sums_to_one(mixture):
    x, y = data()
    gate, answers = by_hand(mixture, x)
    joint = gate * answers[torch.arange(ROWS), :, y]
    posterior = mixture.posterior(x, y)
    torch.testing.assert_close(posterior, joint / joint.sum(-1, keepdim=True))
    torch.testing.assert_close(posterior.sum(-1), torch.ones(ROWS, dtype=torch.float64))


def test_expert_log_probs_are_normalised(mixture):
    x, _ = data()
    gate, answers = by_hand(mixture, x)
    log_gate, log_answers = mixture.expert_log_probs(x)
    torch.testing.assert_close(log_gate, gate.log())
    torch.testing.assert_close(log_answers, answers.log())


# Routes


def test_route_mixture_is_exact(mixture):
    x, _ = data()
    gate, answers = by_hand(mixture, x)
    torch.testing.assert_close(mixture.predict_proba(x), (gate.unsqueeze(-1) * answers).sum(1))


def test_route_top1_is_the_answer_of_the_gates_argmax(mixture):
    x, _ = data()
    gate, answers = by_hand(mixture, x)
    expected = answers[torch.arange(ROWS), gate.argmax(-1)]
    torch.testing.assert_close(mixture.predict_proba(x, "top1"), expected)


def test_route_top1_takes_the_first_of_experts_that_the_gate_likes_equally(mixture):
    x, _ = data()
    mixture.gate = ties = torch.nn.Linear(x.shape[1], EXPERTS).to(x.dtype)
    _, answers = by_hand(mixture, x)
    for best in ([1, 2], list(range(EXPERTS))):
        torch.nn.init.zeros_(ties.weight)
        with torch.no_grad():
            ties.bias.copy_(torch.tensor([float(k in best) for k in range(EXPERTS)]))
        torch.testing.assert_close(mixture.predict_proba(x, "top1"), answers[:, best[0]])
        assert (mixture.read(x)[1].argmax(-1) == best[0]).all()


@pytest.mark.parametrize("k", range(1, EXPERTS + 1))
def test_route_topk_renormalises(mixture, k):
    x, _ = data()
    gate, answers = by_hand(mixture, x)
    threshold = gate.sort(-1, descending=True).values[:, k - 1 : k]
    kept = torch.where(gate >= threshold, gate, 0.0)
    expected = ((kept / kept.sum(-1, keepdim=True)).unsqueeze(-1) * answers).sum(1)
    torch.testing.assert_close(mixture.predict_proba(x, "topk", k=k), expected)


def test_route_topk_of_all_is_the_mixture_and_of_one_is_top1(mixture):
    x, _ = data()
    torch.testing.assert_close(mixture.predict_proba(x, "topk", k=EXPERTS), mixture.predict_proba(x))
    torch.testing.assert_close(mixture.predict_proba(x, "topk", k=1), mixture.predict_proba(x, "top1"))
    assert not torch.allclose(mixture.predict_proba(x, "topk", k=2), mixture.predict_proba(x))


def test_routes_run_as_few_experts_as_they_say():
    x, _ = data()
    for route, k, ran in (("mixture", 2, EXPERTS), ("top1", 2, 1), ("topk", 3, 3)):
        mixture = counting_mixture()
        mixture.predict_proba(x, route, k=k)
        assert sum(expert.rows for expert in mixture.experts.members) == ran * ROWS


def test_predictions_carry_no_gradient(mixture):
    x, _ = data()
    for route in ("mixture", "top1", "topk"):
        assert not mixture.predict_proba(x, route).requires_grad


def test_routes_that_cannot_be_are_refused(mixture):
    x, _ = data()
    with pytest.raises(gw.GatewiseError, match="unknown route 'top-1'; did you mean 'top1'"):
        mixture.predict_proba(x, "top-1")
    for k in (0, EXPERTS + 1):
        with pytest.raises(gw.GatewiseError, match=f"'topk' takes k from 1 to {EXPERTS} experts, got {k}"):
            mixture.predict_proba(x, "topk", k=k)


# Bank and list


def test_bank_and_list_give_the_same_numbers():
    bank, modules = both()
    x, y = data()
    torch.testing.assert_close(bank(x), modules(x))
    torch.testing.assert_close(bank.log_prob(x, y), modules.log_prob(x, y))
    torch.testing.assert_close(bank.posterior(x, y), modules.posterior(x, y))
    for route in ("mixture", "top1", "topk"):
        torch.testing.assert_close(bank.predict_proba(x, route), modules.predict_proba(x, route))
    index = torch.randint(-1, EXPERTS, (4, ROWS), generator=seeded(5))
    first, second = bank.observe(x, y), modules.observe(x, y)
    torch.testing.assert_close(first.at_index(index), second.at_index(index))
    torch.testing.assert_close(first.at_all(), second.at_all())


def parameter_gradients(mixture, loss):
    """The gradient of each expert's weights and biases, the list's layout turned into the bank's."""
    mixture.zero_grad()
    loss.backward()
    if not isinstance(mixture.experts, gw.ExpertList):
        return [p.grad for pair in zip(mixture.experts.weights, mixture.experts.biases, strict=True) for p in pair]
    layers = [[m for m in member if isinstance(m, nn.Linear)] for member in mixture.experts.members]
    gradients = []
    for layer in zip(*layers, strict=True):
        for name in ("weight", "bias"):
            own = [getattr(linear, name) for linear in layer]
            each = [torch.zeros_like(p) if p.grad is None else p.grad for p in own]
            gradients.append(torch.stack([g.T if name == "weight" else g for g in each]))
    return gradients


@pytest.mark.parametrize("strategy", ["index", "all", "log_prob"])
def test_bank_and_list_give_the_same_gradients(strategy):
    x, y = data()
    index = torch.randint(-1, EXPERTS, (4, ROWS), generator=seeded(5))
    weight = torch.randn(4, ROWS, generator=seeded(6), dtype=torch.float64)
    gradients = []
    for mixture in both():
        observed = mixture.observe(x, y)
        loss = {
            "index": lambda o=observed: (weight * o.at_index(index)).sum(),
            "all": lambda o=observed: o.at_all().square().sum(),
            "log_prob": lambda o=observed: o.log_prob().sum(),
        }[strategy]()
        gradients.append(parameter_gradients(mixture, loss))
    assert len(gradients[0]) == 4
    for first, second in zip(*gradients, strict=True):
        assert first.norm() > 0
        torch.testing.assert_close(first, second)


# The integrand


def test_observed_is_an_integrand(mixture):
    assert isinstance(mixture.observe(*data()), Integrand)


def test_at_index_picks_from_at_all(mixture):
    observed = mixture.observe(*data())
    index = torch.randint(EXPERTS, (6, ROWS), generator=seeded(7))
    expected = observed.at_all().gather(1, index.T).T
    torch.testing.assert_close(observed.at_index(index), expected)


def test_at_index_gradients_equal_those_of_at_all(mixture):
    x, y = data()
    x.requires_grad_()
    index = torch.randint(-1, EXPERTS, (4, ROWS), generator=seeded(8))
    weight = torch.randn(4, ROWS, generator=seeded(9), dtype=torch.float64)
    dense = torch.where(index >= 0, mixture.observe(x, y).at_all().gather(1, index.T.clamp_min(0)).T, 0.0)
    wanted = [x, *mixture.experts.parameters()]
    found, expected = (
        torch.autograd.grad((weight * values).sum(), wanted, materialize_grads=True)
        for values in (mixture.observe(x, y).at_index(index), dense)
    )
    for first, second in zip(found, expected, strict=True):
        torch.testing.assert_close(first, second)


def test_what_is_not_asked_is_zero(mixture):
    observed = mixture.observe(*data())
    index = torch.full((2, ROWS), -1)
    assert torch.equal(observed.at_index(index), torch.zeros(2, ROWS, dtype=torch.float64))
    index[1, 3] = 2
    values = observed.at_index(index)
    assert values[1, 3] != 0
    assert (values != 0).sum() == 1


def test_each_distinct_pair_is_run_once():
    mixture = counting_mixture()
    x, y = data()
    index = torch.randint(-1, EXPERTS, (12, ROWS), generator=seeded(10))
    mixture.observe(x, y).at_index(index)
    pairs = {(row, expert) for draw in index.tolist() for row, expert in enumerate(draw) if expert >= 0}
    assert len(pairs) < (index >= 0).sum()
    for k, expert in enumerate(mixture.experts.members):
        wanted = x[[row for row in range(ROWS) if (row, k) in pairs]]
        assert len(expert.seen) == 1
        assert {tuple(row) for row in expert.seen[0].tolist()} == {tuple(row) for row in wanted.tolist()}
        assert expert.rows == len(wanted)


def test_all_rows_to_one_expert():
    mixture = counting_mixture()
    x, y = data()
    values = mixture.observe(x, y).at_index(torch.full((3, ROWS), 2))
    assert [expert.rows for expert in mixture.experts.members] == [0, 0, ROWS, 0, 0]
    expected = mixture.experts.members[2](x).log_softmax(-1)[torch.arange(ROWS), y]
    torch.testing.assert_close(values, expected.expand(3, -1))


def test_an_expert_without_rows_gets_no_gradient(mixture):
    x, y = data()
    index = torch.tensor([[0, 1, 0, 3, 4, 0, 1]])
    mixture.observe(x, y).at_index(index).sum().backward()
    if isinstance(mixture.experts, gw.ExpertList):
        assert all(p.grad is None for p in mixture.experts.members[2].parameters())
        assert all(p.grad.norm() > 0 for p in mixture.experts.members[3].parameters())
    else:
        assert all((p.grad[2] == 0).all() for p in mixture.experts.parameters())
        assert all(p.grad[3].norm() > 0 for p in mixture.experts.parameters())


@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows(mixture, rows):
    x, y = data(rows=rows)
    observed = mixture.observe(x, y)
    assert observed.at_index(torch.zeros(2, rows, dtype=torch.int64)).shape == (2, rows)
    assert observed.at_all().shape == (rows, EXPERTS)
    assert mixture.log_prob(x, y).shape == (rows,)
    for route in ("mixture", "top1", "topk"):
        assert mixture.predict_proba(x, route).shape == (rows, CLASSES)


def test_at_point_is_linear_and_agrees_at_the_corners(mixture):
    observed = mixture.observe(*data())
    first, second = torch.rand(2, 3, ROWS, EXPERTS, generator=seeded(11), dtype=torch.float64)
    mixed = observed.at_point(0.3 * first + 0.7 * second)
    torch.testing.assert_close(mixed, 0.3 * observed.at_point(first) + 0.7 * observed.at_point(second))
    corners = torch.eye(EXPERTS, dtype=torch.float64).unsqueeze(1).expand(-1, ROWS, -1)
    torch.testing.assert_close(observed.at_point(corners).T, observed.at_all())


def test_all_experts_run_once_however_often_they_are_asked():
    mixture = counting_mixture()
    observed = mixture.observe(*data())
    observed.at_all(), observed.log_prob(), observed.log_posterior(), observed.at_point(torch.ones(1, ROWS, EXPERTS))
    assert [expert.rows for expert in mixture.experts.members] == [ROWS] * EXPERTS


def test_a_look_without_gradient_does_not_spoil_the_gradient(mixture):
    """A metric read under no_grad before the loss is taken."""
    observed = mixture.observe(*data())
    with torch.no_grad():
        observed.log_prob()
    observed.log_prob().sum().backward()
    assert all(p.grad is not None and p.grad.norm() > 0 for p in mixture.experts.parameters())


# What gate and experts see


def test_a_trunk_is_shared():
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(9, FEATURES), nn.Tanh()).double()
    mixture = bank_mixture(trunk=trunk)
    bare = gw.MixtureOfExperts(mixture.gate, mixture.experts)
    x, y = torch.randn(ROWS, 9, dtype=torch.float64), data()[1]
    torch.testing.assert_close(mixture.log_prob(x, y), bare.log_prob(trunk(x), y))
    torch.testing.assert_close(mixture.predict_proba(x, "top1"), bare.predict_proba(trunk(x), "top1"))
    mixture.log_prob(x, y).sum().backward()
    assert trunk[0].weight.grad.norm() > 0


def test_the_trunk_runs_once_for_gate_and_experts():
    calls = []
    trunk = nn.Identity()
    trunk.register_forward_hook(lambda *_: calls.append(1))
    bank_mixture(trunk=trunk).log_prob(*data())
    assert calls == [1]


def test_the_gate_may_have_its_own_input():
    torch.manual_seed(0)
    gate = nn.Linear(2, EXPERTS).double()
    mixture = gw.MixtureOfExperts(gate, bank_mixture().experts, trunk=nn.Tanh())
    (x, y), gate_x = data(), torch.randn(ROWS, 2, dtype=torch.float64)
    log_gate, answers = mixture.expert_log_probs(x, gate_x=gate_x)
    torch.testing.assert_close(log_gate, gate(gate_x).log_softmax(-1))
    expected = (log_gate.unsqueeze(-1) + answers).logsumexp(1)
    torch.testing.assert_close(mixture(x, gate_x=gate_x), expected)
    torch.testing.assert_close(mixture.predict_proba(x, gate_x=gate_x), expected.exp())
    torch.testing.assert_close(mixture.gate_proba(x, gate_x=gate_x), log_gate.exp())
    at_y = expected.gather(1, y.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(mixture.log_prob(x, y, gate_x=gate_x), at_y)
    assert mixture.posterior(x, y, gate_x=gate_x).shape == (ROWS, EXPERTS)


def test_context_is_what_the_experts_see_flattened_and_detached():
    mixture = gw.MixtureOfExperts(
        nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), [nn.Sequential(nn.Flatten(), nn.Linear(4, 3)) for _ in range(2)]
    )
    x = torch.randn(5, 2, 2, requires_grad=True)
    context = mixture.observe(x, torch.zeros(5, dtype=torch.int64)).context
    assert torch.equal(context, x.detach().flatten(1))
    assert not context.requires_grad


def test_rows_may_be_single_numbers():
    """Identifiers, say, that the experts look up."""
    torch.manual_seed(0)
    mixture = gw.MixtureOfExperts(nn.Embedding(9, 2), [nn.Embedding(9, CLASSES) for _ in range(2)])
    x, y = torch.arange(5), torch.zeros(5, dtype=torch.int64)
    observed = mixture.observe(x, y)
    assert torch.equal(observed.context, x.unsqueeze(1))
    value = gw.objectives.get("jensen", estimator="score-function")(observed).value
    assert value.shape == (5,)


# Refusals


def test_a_mixture_of_nothing_is_refused():
    with pytest.raises(gw.GatewiseError, match="at least 1 expert, got 0"):
        gw.MixtureOfExperts(nn.Linear(4, 1), [])
    with pytest.raises(gw.GatewiseError, match="at least 1 expert, got 0"):
        gw.MLPBank(0, 4, (), 3)


def test_an_expert_that_is_no_module_is_refused():
    with pytest.raises(
        gw.GatewiseError, match=r"expert 1 must be a Module, got function; every expert must be a torch\.nn\.Module"
    ):
        gw.MixtureOfExperts(nn.Linear(4, 2), [nn.Linear(4, 3), lambda x: x])


@pytest.mark.parametrize(
    ("gate", "shape"),
    [
        (nn.Linear(FEATURES, EXPERTS + 1), [ROWS, EXPERTS + 1]),
        (nn.Sequential(nn.Linear(FEATURES, EXPERTS), nn.Unflatten(1, (EXPERTS, 1))), [ROWS, EXPERTS, 1]),
    ],
)
def test_a_gate_of_the_wrong_width_is_refused(gate, shape):
    mixture = gw.MixtureOfExperts(gate, bank_mixture(torch.float32).experts)
    with pytest.raises(gw.GatewiseError) as refusal:
        mixture.log_prob(*data(torch.float32))
    assert f"the gate put out shape {shape} for {ROWS} rows and {EXPERTS} experts" in str(refusal.value)
    assert f"it must be [{ROWS}, {EXPERTS}]" in str(refusal.value)


def test_a_gate_of_other_rows_is_refused():
    mixture = bank_mixture()
    x, y = data()
    with pytest.raises(gw.GatewiseError, match=rf"shape \[3, {EXPERTS}\] for {ROWS} rows"):
        mixture.log_prob(x, y, gate_x=x[:3])


def test_x_and_y_must_have_the_same_rows():
    x, y = data()
    with pytest.raises(gw.GatewiseError, match=r"one target a row of x, got \[3\]"):
        bank_mixture().observe(x, y[:3])


# Types and hard inputs


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_types(dtype):
    mixture = bank_mixture(dtype)
    x, y = data(dtype)
    observed = mixture.observe(x, y)
    wide = torch.float32 if dtype == torch.bfloat16 else dtype
    assert observed.logits.dtype == wide
    assert observed.at_all().dtype == wide
    assert observed.at_index(torch.zeros(2, ROWS, dtype=torch.int64)).dtype == wide
    assert mixture.log_prob(x, y).dtype == wide
    for route in ("mixture", "top1", "topk"):
        probs = mixture.predict_proba(x, route)
        assert probs.dtype == wide
        torch.testing.assert_close(probs.sum(-1), torch.ones(ROWS, dtype=wide))
    torch.testing.assert_close(mixture.posterior(x, y).sum(-1), torch.ones(ROWS, dtype=wide))
    mixture.log_prob(x, y).sum().backward()
    assert all(p.grad.dtype == dtype and p.grad.isfinite().all() for p in mixture.parameters())


class Fixed(nn.Module):
    """A gate with given logits."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x):
        return self.logits.expand(len(x), -1)


@given(
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(1, 4),
    st.lists(st.integers(1, 5), max_size=2),
    st.floats(0, 1e4),
    st.data(),
)
def test_any_shape_and_any_logits(experts, rows, classes, hidden, scale, draw):
    """Probabilities that sum to 1, finite gradients, and sparse equal to dense, whatever the gate says."""
    kept = torch.tensor(draw.draw(st.lists(st.booleans(), min_size=experts, max_size=experts).filter(any)))
    torch.manual_seed(0)
    logits = torch.where(kept, torch.randn(experts) * scale, -torch.inf)
    mixture = gw.MixtureOfExperts(Fixed(logits), gw.MLPBank(experts, FEATURES, hidden, classes))
    x, y = torch.randn(rows, FEATURES), torch.randint(classes, (rows,))
    for route, k in (("mixture", 1), ("top1", 1), ("topk", 1), ("topk", experts)):
        probs = mixture.predict_proba(x, route, k=k)
        torch.testing.assert_close(probs.sum(-1), torch.ones(rows))
    posterior = mixture.posterior(x, y)
    torch.testing.assert_close(posterior.sum(-1), torch.ones(rows))
    assert (posterior[:, ~kept] == 0).all()
    observed = mixture.observe(x, y)
    index = torch.randint(-1, experts, (3, rows))
    picked = torch.where(index >= 0, observed.at_all().gather(1, index.T.clamp_min(0)).T, 0.0)
    torch.testing.assert_close(observed.at_index(index), picked)
    observed.log_prob().sum().backward()
    assert all(p.grad.isfinite().all() for p in mixture.parameters())


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (torch.zeros(6, 1, dtype=torch.int64), r"y must have shape \[6\].*got \[6, 1\]"),
        (torch.zeros(5, dtype=torch.int64), r"y must have shape \[6\].*got \[5\]"),
        (torch.zeros(6), "classes as integers 0 to 2, got torch.float32"),
        (torch.full((6,), 3), "classes from 0 to 2, got 3 to 3"),
        (torch.full((6,), -1), "classes from 0 to 2, got -1 to -1"),
    ],
)
def test_targets_that_are_no_classes_are_refused(y, said):
    mixture = gw.MixtureOfExperts(torch.nn.Linear(4, 2), gw.MLPBank(2, 4, [3], 3))
    with pytest.raises(gw.GatewiseError, match=said):
        mixture.log_prob(torch.zeros(6, 4), y)


def test_targets_may_be_any_integers():
    mixture = gw.MixtureOfExperts(torch.nn.Linear(4, 2), gw.MLPBank(2, 4, [3], 3))
    x, y = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    assert torch.equal(mixture.log_prob(x, y), mixture.log_prob(x, y.to(torch.uint8)))
