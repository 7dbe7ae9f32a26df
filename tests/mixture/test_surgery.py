import copy
import math

import pytest
import torch
from torch import nn

import gatewise as gw
from gatewise import GatewiseError
from gatewise.mixture import Entmax15, Sparsemax, add_expert, mlp, remove_expert
from gatewise.mixture.surgery import can_reseed, reseed_expert
from tests.chance import seeded
from tests.mixture.models import CLASSES, EXPERTS, FEATURES, bank_mixture, data, list_mixture

KINDS = ("bank", "list", "trunk", "deep gate", "no bias")


def mixture_of(kind):
    torch.manual_seed(4)
    if kind == "trunk":
        trunk = nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.Tanh())
        return bank_mixture(trunk=trunk)
    mixture = bank_mixture()
    if kind == "deep gate":
        mixture.gate = mlp(FEATURES, [6], EXPERTS).double()
    if kind == "no bias":
        mixture.gate = nn.Linear(FEATURES, EXPERTS, bias=False).double()
    return list_mixture(mixture) if kind == "list" else mixture


@pytest.mark.parametrize("kind", KINDS)
def test_a_split_without_noise_leaves_the_likelihood_exactly(kind):
    mixture, (x, y) = mixture_of(kind), data()
    before = copy.deepcopy(mixture.state_dict())
    grown = add_expert(mixture, donor=1)
    assert grown.num_experts == EXPERTS + 1
    torch.testing.assert_close(grown.log_prob(x, y), mixture.log_prob(x, y), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(grown(x), mixture(x), rtol=1e-13, atol=1e-13)
    old, new = mixture.gate_proba(x), grown.gate_proba(x)
    torch.testing.assert_close(new[:, 1], old[:, 1] / 2)
    torch.testing.assert_close(new[:, EXPERTS], old[:, 1] / 2)
    torch.testing.assert_close(new[:, 2:EXPERTS], old[:, 2:])
    assert all(torch.equal(value, before[name]) for name, value in mixture.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_removal_is_masking(kind):
    mixture, (x, y) = mixture_of(kind), data()
    features, logits = mixture.read(x)
    masked = logits.index_fill(1, torch.tensor([2]), -math.inf)
    wanted = gw.mixture.Observed(mixture, features, masked, y).log_prob()
    shrunk = remove_expert(mixture, 2)
    torch.testing.assert_close(shrunk.log_prob(x, y), wanted, rtol=1e-13, atol=1e-13)
    kept = [k for k in range(EXPERTS) if k != 2]
    torch.testing.assert_close(shrunk.gate_proba(x), masked.softmax(-1)[:, kept])
    assert mixture.num_experts == EXPERTS


@pytest.mark.parametrize("kind", ["bank", "list"])
def test_adding_and_removing_again_gives_back_the_donor(kind):
    """The gate's logits differ in the donor's by log 2 at most, which renormalising does not undo."""
    mixture, (x, _) = mixture_of(kind), data()
    back = remove_expert(add_expert(mixture, donor=0, noise=0.1, generator=seeded(1)), EXPERTS)
    torch.testing.assert_close(back.expert_log_probs(x)[1], mixture.expert_log_probs(x)[1])
    assert {n: v.shape for n, v in back.state_dict().items()} == {n: v.shape for n, v in mixture.state_dict().items()}


@pytest.mark.parametrize("kind", ["bank", "list"])
def test_noise_is_relative_and_changes_the_newcomer_alone(kind):
    mixture, (x, y) = mixture_of(kind), data()
    grown = add_expert(mixture, donor=1, noise=1e-3, generator=seeded(1))
    again = add_expert(mixture, donor=1, noise=1e-3, generator=seeded(1))
    torch.testing.assert_close(grown.log_prob(x, y), again.log_prob(x, y), rtol=0, atol=0)
    old, new = mixture.expert_log_probs(x)[1], grown.expert_log_probs(x)[1]
    torch.testing.assert_close(new[:, :EXPERTS], old)
    away = (new[:, EXPERTS] - old[:, 1]).abs().max()
    assert 0 < away < 0.02
    torch.testing.assert_close(grown.log_prob(x, y), mixture.log_prob(x, y), rtol=0, atol=0.02)


@pytest.mark.parametrize("gate_map", [Sparsemax, Entmax15])
def test_behind_a_sparse_map_a_decided_row_is_split_exactly(gate_map):
    mixture, (x, y) = bank_mixture(), data()
    with torch.no_grad():
        mixture.gate.bias[1] += 50
    mixture.gate = nn.Sequential(mixture.gate, gate_map())
    grown = add_expert(mixture, donor=1)
    torch.testing.assert_close(grown.log_prob(x, y), mixture.log_prob(x, y), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(grown.gate_proba(x)[:, [1, EXPERTS]], torch.full((len(x), 2), 0.5).double())
    never = add_expert(mixture, donor=0)
    torch.testing.assert_close(never.gate_proba(x)[:, :EXPERTS], mixture.gate_proba(x))


def test_an_expert_of_ones_own_begins_with_its_prior():
    mixture, (x, _) = list_mixture(bank_mixture()), data(rows=200)
    expert = nn.Linear(FEATURES, CLASSES)
    grown = add_expert(mixture, expert=expert, prior=0.03, x=x)
    mass = grown.gate_proba(x)[:, EXPERTS]
    assert mass.mean().item() == pytest.approx(0.03, abs=1e-12)
    assert mass.min() > 0.01
    assert mass.max() < 0.06
    assert grown.experts.members[EXPERTS] is expert
    assert expert.weight.dtype == torch.float64
    old, new = mixture.gate_proba(x), grown.gate_proba(x)[:, :EXPERTS]
    torch.testing.assert_close(new / new.sum(-1, keepdim=True), old)


def test_one_module_twice_in_the_list_is_not_torn_along():
    twin = nn.Linear(FEATURES, CLASSES).double()
    mixture = gw.MixtureOfExperts(nn.Linear(FEATURES, 2).double(), [twin, twin])
    grown = add_expert(mixture, donor=0, noise=0.5, generator=seeded(1))
    first, second, new = grown.experts.members
    assert first is second
    assert new is not first
    assert torch.equal(first.weight, twin.weight)
    assert not torch.equal(new.weight, twin.weight)
    assert len(remove_expert(mixture, 0).experts.members) == 1
    assert not can_reseed(mixture, 0, 1)
    with pytest.raises(GatewiseError, match="shares weights"):
        reseed_expert(mixture, 0, 1)


def test_frozen_parameters_stay_frozen_and_unperturbed():
    mixture, (x, _) = list_mixture(bank_mixture()), data()
    mixture.experts.members[1].requires_grad_(False)
    mixture.gate.requires_grad_(False)
    grown = add_expert(mixture.train(), donor=1, noise=0.5, generator=seeded(1))
    copied = grown.experts.members[EXPERTS]
    assert not any(p.requires_grad for p in [*copied.parameters(), *grown.gate.parameters()])
    assert not copied.training
    assert grown.experts.members[0].training
    torch.testing.assert_close(copied(x), mixture.experts.members[1](x))
    bank = bank_mixture()
    bank.experts.requires_grad_(False)
    assert not any(p.requires_grad for p in add_expert(bank, donor=0).experts.parameters())
    assert not any(p.requires_grad for p in remove_expert(bank, 0).experts.parameters())


def test_dtype_is_kept():
    mixture = bank_mixture(torch.bfloat16)
    grown = add_expert(mixture, donor=0, noise=0.1)
    assert {p.dtype for p in [*grown.parameters(), *remove_expert(grown, 1).parameters()]} == {torch.bfloat16}


@pytest.mark.parametrize("kind", ["bank", "list", "deep gate"])
def test_a_reseeded_expert_shares_the_donors_probability(kind):
    mixture, (x, y) = mixture_of(kind), data()
    gate, experts = mixture.expert_log_probs(x)
    objects = [id(p) for p in mixture.parameters()]
    written = reseed_expert(mixture, 3, 1)
    assert [id(p) for p in mixture.parameters()] == objects
    new_gate, new_experts = mixture.expert_log_probs(x)
    torch.testing.assert_close(new_experts[:, 3], experts[:, 1])
    rest = [0, 2, 4]
    torch.testing.assert_close(new_experts[:, rest], experts[:, rest])
    # as if expert 3 had been taken away and expert 1 split
    kept = gate.index_fill(1, torch.tensor([3]), -math.inf).log_softmax(-1)
    torch.testing.assert_close(new_gate[:, rest], kept[:, rest])
    torch.testing.assert_close(new_gate[:, 3], kept[:, 1] - math.log(2))
    wanted = (kept.unsqueeze(-1) + experts).logsumexp(1).gather(1, y[:, None])[:, 0]
    torch.testing.assert_close(mixture.log_prob(x, y), wanted, rtol=1e-13, atol=1e-13)
    assert {index for _, index in written} == ({1, 3, None} if kind == "list" else {1, 3})


def test_an_expert_of_another_kind_is_not_reseeded():
    experts = [nn.Linear(FEATURES, CLASSES), mlp(FEATURES, [3], CLASSES), nn.Linear(FEATURES, CLASSES)]
    mixture = gw.MixtureOfExperts(nn.Linear(FEATURES, 3), experts)
    assert not can_reseed(mixture, 0, 1)
    assert can_reseed(mixture, 0, 2)
    experts[0].requires_grad_(False)
    assert not can_reseed(mixture, 0, 2)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.linear = nn.Linear(FEATURES, EXPERTS)

    def forward(self, x):
        return self.scale * self.linear(x)


class Own(nn.Module):
    """A gate without a layer that changes itself."""

    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(EXPERTS).double())

    def forward(self, x):
        return self.logits.expand(len(x), -1)

    def add_expert(self, donor):
        lowered = self.logits.detach().clone()
        lowered[donor] -= math.log(2)
        self.logits = nn.Parameter(torch.cat([lowered, lowered[donor : donor + 1]]))

    def remove_expert(self, index):
        self.logits = nn.Parameter(self.logits.detach()[[k for k in range(len(self.logits)) if k != index]])


def test_a_gate_may_change_itself():
    mixture, (x, y) = bank_mixture(), data()
    mixture.gate = Own()
    grown = add_expert(mixture, donor=1)
    torch.testing.assert_close(grown.log_prob(x, y), mixture.log_prob(x, y))
    assert remove_expert(grown, 0).gate_proba(x).shape == (len(x), EXPERTS)


@pytest.mark.parametrize(
    "gate", [Scaled(), nn.Sequential(nn.Linear(FEATURES, EXPERTS), nn.ReLU()), nn.Linear(FEATURES, EXPERTS + 1)]
)
def test_other_gates_are_refused_with_what_to_do(gate):
    mixture = bank_mixture()
    mixture.gate = gate
    for change in (lambda: add_expert(mixture, donor=0), lambda: remove_expert(mixture, 0)):
        with pytest.raises(GatewiseError, match=r"end it so .* or give it the methods add_expert"):
            change()


def test_what_cannot_be_is_refused():
    mixture, (x, _) = bank_mixture(), data()
    for said, change in {
        "either donor": lambda: add_expert(mixture),
        "there is no expert 5": lambda: add_expert(mixture, donor=5),
        "there is no expert -1": lambda: remove_expert(mixture, -1),
        "over a list of modules": lambda: add_expert(mixture, expert=nn.Linear(FEATURES, CLASSES), x=x),
        "prior must be": lambda: add_expert(list_mixture(mixture), expert=nn.Linear(FEATURES, CLASSES), x=x, prior=1.0),
        "needs x": lambda: add_expert(list_mixture(mixture), expert=nn.Linear(FEATURES, CLASSES)),
        "last one": lambda: remove_expert(bank_mixture(experts=1), 0),
    }.items():
        with pytest.raises(GatewiseError, match=said):
            change()


GATES = {
    "temperature": {"temperature": 2.5},
    "temperature and balance": {"temperature": 0.7, "balance": True},
    "noisy top-k": {"top_k": 2, "noise_features": FEATURES, "balance": True},
}


def mixture_with_gate(name):
    torch.manual_seed(5)
    mixture = bank_mixture()
    mixture.gate = gw.mixture.Gate(mlp(FEATURES, [6], EXPERTS), EXPERTS, **GATES[name]).double().eval()
    with torch.no_grad():
        if mixture.gate.balance is not None:
            mixture.gate.balance.bias.copy_(torch.linspace(-1, 1, EXPERTS))
    return mixture


@pytest.mark.parametrize("name", [name for name in GATES if name != "noisy top-k"])
def test_a_gate_with_parts_is_split_exactly(name):
    mixture, (x, y) = mixture_with_gate(name), data()
    grown = add_expert(mixture, donor=1)
    torch.testing.assert_close(grown.log_prob(x, y), mixture.log_prob(x, y), rtol=1e-12, atol=1e-12)
    assert grown.gate.num_experts == grown.gate_proba(x).shape[1] == EXPERTS + 1
    before = mixture.gate_proba(x)
    written = mixture.gate.share_expert(2, 1)
    after = mixture.gate_proba(x)
    torch.testing.assert_close(after[:, 2], after[:, 1])
    kept = before[:, 1] / (1 - before[:, 2])  # what expert 2 had goes to all others in proportion
    torch.testing.assert_close(after[:, [1, 2]].sum(-1), kept)
    assert all(any(p is q for q in mixture.gate.parameters()) for p in written)


@pytest.mark.parametrize("name", GATES)
def test_removal_from_a_gate_with_parts_is_masking(name):
    mixture, (x, _) = mixture_with_gate(name), data()
    kept = [k for k in range(EXPERTS) if k != 2]
    shrunk = remove_expert(mixture, 2)
    if name != "noisy top-k":
        masked = mixture.read(x)[1].index_fill(1, torch.tensor([2]), -math.inf)
        torch.testing.assert_close(shrunk.gate_proba(x), masked.softmax(-1)[:, kept])
    else:
        assert ((shrunk.gate_proba(x) > 0).sum(-1) == 2).all()
        assert torch.equal(shrunk.gate.top_k.noise_weight, mixture.gate.top_k.noise_weight[:, kept])
        assert shrunk.train()(x).isfinite().all()
        for _ in range(EXPERTS - 3):
            shrunk = remove_expert(shrunk, 0)
        with pytest.raises(GatewiseError, match="leave top-k out"):
            remove_expert(shrunk, 0)
