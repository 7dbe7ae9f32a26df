import copy
import math

import pytest
import torch
from torch import nn

import gatewise as gw
from gatewise import GatewiseError
from gatewise.config import LoopConfig
from gatewise.metrics.gate import GateStatistics
from gatewise.mixture import mlp
from gatewise.training import Callback, fit
from gatewise.training.collapse.reseeding import Reseeding
from gatewise.training.step import TrainStep
from tests.training.test_loop import blobs

DEAD = 2


def one_dead(experts=None):
    """Three experts, of which the gate chooses the last on no row."""
    torch.manual_seed(0)
    mixture = gw.MixtureOfExperts(mlp(2, [8], 3), experts or gw.MLPBank(3, 2, [8], 3))
    with torch.no_grad():
        mixture.gate[-1].bias[DEAD] = -12
    return mixture


def as_list():
    return [mlp(2, [8], 3) for _ in range(3)]


def reseeding_of(mixture, after=1, epochs=9, steps=2):
    """After some steps, so that the optimiser has moments."""
    objective = gw.objectives.get("marginal")
    train_step = TrainStep(mixture, objective, [], LoopConfig(lr=1e-3), steps=steps)
    statistics = GateStatistics(3, torch.device("cpu"))
    for _ in range(steps):
        train_step.take_step(*blobs(), statistics)
    return Reseeding(mixture, train_step.optimiser, after, epochs, seed=1), statistics.argmax


@pytest.mark.parametrize("experts", [None, as_list])
def test_the_validation_nll_hardly_moves_and_the_moments_are_reset(experts):
    mixture = one_dead(experts() if experts else None)
    reseeding, counts = reseeding_of(mixture)
    x, y = blobs(200, 1)
    before = mixture.log_prob(x, y).mean()
    donor = int(counts.argmax())
    assert reseeding.after_epoch(1, counts) == [{"epoch": 1, "expert": DEAD, "donor": donor}]
    assert abs(mixture.log_prob(x, y).mean() - before) < 0.03
    gate = mixture.gate_proba(x)
    torch.testing.assert_close(gate[:, DEAD], gate[:, donor])
    state = reseeding.optimiser.state
    other = ({0, 1} - {donor}).pop()
    for name in ("exp_avg", "exp_avg_sq"):
        for row in (mixture.gate[-1].weight, mixture.gate[-1].bias):
            assert not state[row][name][[DEAD, donor]].any()
            assert state[row][name][other].any()
        if experts is None:
            for p in mixture.experts.parameters():
                assert not state[p][name][DEAD].any()
                assert state[p][name][donor].any()
        else:
            assert not any(state[p][name].any() for p in mixture.experts.members[DEAD].parameters())
            assert all(state[p][name].any() for p in mixture.experts.members[donor].parameters())


def test_only_epochs_in_a_row_count_and_none_in_the_last_third():
    reseeding, _ = reseeding_of(one_dead(), after=2, epochs=9)
    dead, alive = torch.tensor([60.0, 40, 0]), torch.tensor([60.0, 30, 10])
    assert [bool(reseeding.after_epoch(e, counts)) for e, counts in enumerate([dead, alive, dead], 1)] == [False] * 3
    assert reseeding.after_epoch(4, dead) == [{"epoch": 4, "expert": DEAD, "donor": 0}]
    assert not reseeding.after_epoch(5, dead)
    assert reseeding.after_epoch(6, dead)
    assert not any(reseeding.after_epoch(e, dead) for e in (7, 8, 9))


def test_two_dead_experts_share_what_the_loads_allow():
    torch.manual_seed(0)
    mixture = gw.MixtureOfExperts(nn.Linear(2, 4), gw.MLPBank(4, 2, [8], 3))
    reseeding = Reseeding(mixture, torch.optim.AdamW(mixture.parameters()), 1, 9, seed=1)
    done = reseeding.after_epoch(1, torch.tensor([0.0, 60, 40, 0]))
    assert [(one["expert"], one["donor"]) for one in done] == [(0, 1), (3, 2)]


def test_a_frozen_expert_is_left_alone():
    mixture = one_dead(as_list())
    mixture.experts.members[DEAD].requires_grad_(False)
    before = copy.deepcopy(mixture.state_dict())
    reseeding = Reseeding(mixture, torch.optim.AdamW(mixture.gate.parameters()), 1, 9, seed=1)
    assert not reseeding.after_epoch(1, torch.tensor([60.0, 40, 0]))
    assert all(torch.equal(value, before[name]) for name, value in mixture.state_dict().items())


class Heard(Callback):
    def __init__(self):
        self.said = []

    def on_warning(self, message):
        self.said.append(message)


def trained(**config):
    mixture, heard = one_dead(), Heard()
    settings = LoopConfig(**{"epochs": 9, "lr": 0.01, "patience": 0, **config})
    result = fit(mixture, gw.objectives.get("jensen"), blobs(), blobs(100, 1), settings, callbacks=[heard])
    return mixture, result, heard


def test_in_a_training_it_is_said_and_repeatable_and_the_best_weights_belong_together():
    mixture, result, heard = trained(reseed_after=2)
    assert result.reseeded
    assert result.reseeded[0]["expert"] == DEAD
    assert result.reseeded[0]["epoch"] == 2
    assert sum("is re-seeded after epoch" in message for message in heard.said) == len(result.reseeded)
    assert max(one["epoch"] for one in result.reseeded) <= 6
    nlls = [h["validation_nll"] for h in result.history]
    assert -mixture.log_prob(*blobs(100, 1)).mean().item() == pytest.approx(min(nlls), rel=1e-5)
    again = trained(reseed_after=2)[0]
    assert all(torch.equal(a, b) for a, b in zip(mixture.parameters(), again.parameters(), strict=True))
    never, none, _ = trained()
    assert not none.reseeded
    assert never.gate[-1].bias[DEAD] < -10
    assert math.isfinite(nlls[-1])


def test_a_gate_that_cannot_share_is_refused_before_training():
    mixture = gw.MixtureOfExperts(nn.Linear(2, 3, bias=False), gw.MLPBank(3, 2, [8], 3))
    with pytest.raises(GatewiseError, match="has a bias"):
        fit(mixture, gw.objectives.get("marginal"), blobs(), blobs(), LoopConfig(epochs=3, reseed_after=1))
