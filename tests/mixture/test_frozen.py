"""Frozen parts rest in inference mode, whenever they were frozen: trunk, gate, list, bank, tree, layer."""

import copy

import pytest
import torch
from torch import nn

import gatewise as gw
from gatewise.mixture import MLPBank
from tests.mixture.models import CLASSES, EXPERTS, FEATURES, bank_mixture, data


def noisy(out_features, normed=False):
    norm = [nn.BatchNorm1d(FEATURES)] if normed else []
    return nn.Sequential(*norm, nn.Linear(FEATURES, FEATURES), nn.Dropout(0.5), nn.Linear(FEATURES, out_features))


def mixture_of(**parts):
    torch.manual_seed(3)
    made = {"gate": nn.Linear(FEATURES, EXPERTS), "experts": MLPBank(EXPERTS, FEATURES, (6,), CLASSES)} | parts
    return gw.MixtureOfExperts(**made).double().train()


def tree():
    return gw.mixture.by_leaf(mixture_of(experts=[inner() for _ in range(EXPERTS)]))


def inner():
    experts = [nn.Linear(FEATURES, CLASSES) for _ in range(2)]
    return gw.MixtureOfExperts(nn.Linear(FEATURES, 2), experts, trunk=noisy(FEATURES))


def draws(mixture):
    """Whether two passes over the same rows differ, run in every way there is."""
    x, y = data()
    index = torch.arange(len(y)).view(1, -1) % mixture.num_experts
    ways = (
        lambda: mixture(x),
        lambda: mixture.gate_proba(x),
        lambda: mixture.observe(x, y).at_index(index),
        lambda: mixture.predict_proba(x, "top1"),
    )
    return any(not torch.equal(strategy(), strategy()) for strategy in ways)


CASES = {
    "trunk": (lambda: mixture_of(trunk=noisy(FEATURES)), lambda mixture: mixture.trunk),
    "gate": (lambda: mixture_of(gate=noisy(EXPERTS)), lambda mixture: mixture.gate),
    "noisy top-k": (
        lambda: mixture_of(gate=gw.mixture.Gate(noisy(EXPERTS), EXPERTS, top_k=2, noise_features=FEATURES)),
        lambda mixture: mixture.gate,
    ),
    "list": (lambda: mixture_of(experts=[noisy(CLASSES) for _ in range(EXPERTS)]), lambda mixture: mixture.experts),
    **{
        f"bank, {strategy}": (
            lambda strategy=strategy: mixture_of(
                experts=MLPBank(EXPERTS, FEATURES, (6,), CLASSES, 0.5, strategy=strategy)
            ),
            lambda mixture: mixture.experts,
        )
        for strategy in ("segments", "padded", "loop")
    },
    "tree": (tree, lambda mixture: mixture),
}


@pytest.mark.parametrize(("make", "part"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("copied", [False, True], ids=["itself", "a copy"])
def test_what_is_frozen_later_draws_no_more_and_draws_again_when_it_trains_again(make, part, copied):
    mixture = make()
    assert draws(mixture)
    for _ in range(2):
        part(mixture).requires_grad_(False)
        mixture = copy.deepcopy(mixture) if copied else mixture
        assert not draws(mixture)
        part(mixture).requires_grad_(True)
        assert draws(mixture)
    part(mixture).requires_grad_(False)
    mixture.train()
    assert not draws(mixture)
    mixture.eval()
    part(mixture).requires_grad_(True)
    assert not draws(mixture)


def test_one_of_several_experts_rests_alone():
    mixture = mixture_of(experts=[noisy(CLASSES) for _ in range(EXPERTS)])
    mixture.experts.members[1].requires_grad_(False)
    x, _ = data()
    first, second = mixture.experts(x), mixture.experts(x)
    assert [torch.equal(first[:, k], second[:, k]) for k in range(EXPERTS)] == [k == 1 for k in range(EXPERTS)]
    assert [member.training for member in mixture.experts.members] == [k != 1 for k in range(EXPERTS)]


def test_a_part_that_somebody_put_into_inference_mode_stays_there():
    mixture = mixture_of(trunk=noisy(FEATURES))
    mixture.trunk.eval().requires_grad_(False)
    assert not draws(mixture)
    mixture.trunk.requires_grad_(True)
    assert not draws(mixture)
    assert not mixture.trunk.training


def test_statistics_of_a_frozen_trunk_stand_still_and_a_frozen_expert_with_some_can_be_routed_to():
    mixture = mixture_of(
        trunk=noisy(FEATURES, normed=True),
        experts=[noisy(CLASSES, normed=True) for _ in range(2)],
        gate=nn.Linear(FEATURES, 2),
    )
    x, y = data()
    with pytest.raises(gw.GatewiseError, match="batch normalisation"):
        mixture.observe(x, y).at_index(torch.zeros(1, len(y), dtype=torch.int64))
    before = mixture.trunk[0].running_mean.clone()
    mixture.trunk.requires_grad_(False)
    mixture.experts.requires_grad_(False)
    mixture.observe(x, y).at_index(torch.zeros(1, len(y), dtype=torch.int64))
    assert not torch.equal(before, torch.zeros(FEATURES))
    assert torch.equal(mixture.trunk[0].running_mean, before)


def test_tensors_in_the_place_of_parameters_freeze_nothing():
    mixture = mixture_of(experts=[noisy(CLASSES) for _ in range(EXPERTS)], trunk=noisy(FEATURES))
    given = {name: parameter.detach() for name, parameter in mixture.named_parameters()}
    x, _ = data()
    first, second = (torch.func.functional_call(mixture, given, x) for _ in range(2))
    assert not torch.equal(first, second)
    assert mixture.trunk.training


@pytest.mark.parametrize("part", ["experts", "shared"])
def test_the_parts_of_a_layer(part):
    torch.manual_seed(0)
    bank = MLPBank(4, FEATURES, (6,), FEATURES, 0.5 if part == "experts" else 0.0)
    layer = gw.nn.MoELayer(FEATURES, bank, k=2, shared=noisy(FEATURES) if part == "shared" else None)
    x = torch.randn(9, FEATURES)

    def differ():
        return not torch.equal(layer(x)[0], layer(x)[0])

    assert differ()
    getattr(layer, part).requires_grad_(False)
    assert not differ()
    getattr(layer, part).requires_grad_(True)
    assert differ()


def test_a_frozen_router_goes_on_to_draw():
    layer = gw.nn.MoELayer(FEATURES, bank_mixture().experts.float(), router="score-function")
    layer.router.requires_grad_(False)
    assert layer(torch.randn(9, FEATURES))[1].log_prob is not None
