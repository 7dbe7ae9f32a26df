"""How fast the gate learns beside the experts, and when."""

import pytest
import torch
from torch import nn

import gatewise as gw
from gatewise.config import LoopConfig
from gatewise.errors import GatewiseError
from gatewise.training.optim import FASTEST, REACH, gate_rate, rate_at
from gatewise.training.step import TrainStep


@pytest.mark.parametrize(
    ("gate", "rate"),
    [
        (nn.Linear(64, 4), REACH / 64),
        (nn.Linear(2, 4), FASTEST),
        (nn.Linear(4096, 4), 1.0),
        (gw.mixture.mlp(64, [8], 4), 1.0),
    ],
)
def test_a_linear_gate_of_few_inputs_learns_faster(gate, rate):
    assert gate_rate(gate, LoopConfig()) == pytest.approx(rate)


def test_a_rate_that_is_set_is_taken():
    assert gate_rate(nn.Linear(64, 4), LoopConfig(lr=1e-3, gate_lr=5e-4)) == pytest.approx(0.5)


def test_a_fast_gate_begins_at_the_rate_of_the_experts():
    assert [rate_at(21.0, progress, 0.2) for progress in (0.0, 0.1, 0.2, 0.9)] == pytest.approx([1, 11, 21, 21])
    assert rate_at(0.5, 0.0, 0.2) == 0.5  # a slow one is slow from the start
    assert rate_at(21.0, 0.0, 0.0) == 21


def test_the_optimiser_follows():
    mixture = gw.MixtureOfExperts(nn.Linear(64, 2), gw.MLPBank(2, 64, [4], 3))
    config = LoopConfig(lr=0.01, gate_lr=0.05, gate_warmup=0.5, lr_schedule="constant")
    train_step = TrainStep(mixture, gw.objectives.get("jensen"), [], config, steps=4)
    seen = []
    for _ in range(4):
        train_step.take_step(torch.randn(6, 64), torch.randint(3, (6,)), train_step.new_statistics())
        seen.append({group["lr"] for group in train_step.optimiser.param_groups})
    assert [max(rates) for rates in seen] == pytest.approx([0.01, 0.03, 0.05, 0.05])
    assert min(seen[-1]) == 0.01


def test_nothing_to_train_is_refused():
    mixture = gw.MixtureOfExperts(nn.Linear(4, 2), gw.MLPBank(2, 4, [], 3)).requires_grad_(False)
    with pytest.raises(GatewiseError, match="every parameter of the mixture is frozen"):
        TrainStep(mixture, gw.objectives.get("jensen"), [], LoopConfig(), steps=1)
