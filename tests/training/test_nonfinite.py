"""A batch whose loss or gradient is not finite: no step is taken, the line says where it arose, what was good stays."""

import copy
import re

import pytest
import torch
from torch import nn

import gatewise as gw
from gatewise.config import LoopConfig, RunConfig
from gatewise.objectives import Regulariser, regularisers
from gatewise.runs import resume, train
from gatewise.training import fit
from gatewise.training.checkpoints.folder import Checkpoints
from gatewise.training.nonfinite import trace
from gatewise.training.step import NonFiniteBatch, TrainStep

BAD = 7.0
"""The first number of a row on which something goes wrong."""


class Linear(nn.Linear):
    """Puts out `value` on bad rows, times the first weight so that it has a gradient."""

    def __init__(self, outputs, value=None):
        super().__init__(3, outputs)
        self.value = value

    def forward(self, x):
        outputs = super().forward(x)
        return outputs if self.value is None else torch.where(x[:, :1] == BAD, self.value, outputs)


class Steep(nn.Linear):
    """A finite output whose gradient is NaN on bad rows: the square root of |x - 7| at 0."""

    def forward(self, x):
        distance = (self.weight[0, 0] - self.weight[0, 0].detach() + x[:, :1] - BAD).abs()
        return super().forward(x) + distance.sqrt()


class Charged(Regulariser):
    """NaN where a logit is large."""

    name = "charged"

    def statistics(self, logits):
        return torch.where(logits.max() > 50, torch.nan, logits.mean()).reshape(1)


def rows(bad=(), count=24):
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(count, 3, generator=draw), torch.randint(2, (count,), generator=draw)
    x[list(bad), 0] = BAD
    return x, y


def mixture(gate=None, expert=None, trunk=None):
    torch.manual_seed(1)
    experts = [Linear(2), expert or Linear(2), Linear(2)]
    return gw.MixtureOfExperts(Linear(3) if gate is None else gate, experts, trunk=trunk)


CASES = {
    "rows": ({}, "the rows hold nan (2 of 24 rows of the batch)"),
    "the trunk": ({"trunk": Linear(3, float("inf"))}, "the trunk puts out inf on 2 of 24 rows"),
    "the gate": ({"gate": Linear(3, float("nan"))}, "the gate puts out nan on 2 of 24 rows"),
    "an expert": ({"expert": Linear(2, float("nan"))}, "log p(y|z,x) of expert 1 is nan on 2 of 24 rows"),
    "a gradient": (
        {"expert": Steep(3, 2)},
        "the gradient of the likelihood term (objective jensen) for expert 1 is nan",
    ),
    "a regulariser": ({"gate": Linear(3, 60.0)}, "the regulariser charged is nan"),
}


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_it_is_traced_to_where_it_arises(case, accumulate):
    parts, said = CASES[case]
    x, y = rows(bad=[0, 1])
    if case == "rows":
        x[:2, 1] = torch.nan
    config = LoopConfig(accumulate=accumulate)
    train_step = TrainStep(mixture(**parts), gw.objectives.get("jensen"), [Charged(1.0)], config, steps=9)
    before = copy.deepcopy(train_step.mixture.state_dict())
    with pytest.raises(NonFiniteBatch) as raised:
        train_step.take_step(x, y, train_step.new_statistics())
    if accumulate > 1:
        said = said.replace(" 24 ", " 8 ")
    assert said in trace(train_step, raised.value.pieces)
    assert all(torch.equal(value, before[name]) for name, value in train_step.mixture.state_dict().items())
    assert train_step.step == 0
    assert not train_step.optimiser.state


def test_a_bank_names_its_expert():
    torch.manual_seed(1)
    bank = gw.MLPBank(3, 3, [4], 2)
    with torch.no_grad():
        bank.weights[1][2] = 3e38
    train_step = TrainStep(
        gw.MixtureOfExperts(nn.Linear(3, 3), bank), gw.objectives.get("marginal"), [], LoopConfig(), 9
    )
    with pytest.raises(NonFiniteBatch, match="the loss of a batch, or its gradient, is not finite; lower lr") as raised:
        train_step.take_step(*rows(), train_step.new_statistics())
    assert re.search(r"log p.*of expert 2 is ", trace(train_step, raised.value.pieces))


def stepping(bad_step):
    """Three good steps of a training with noise and state, with a bad batch among them or none."""
    torch.manual_seed(1)
    objective = gw.objectives.get("jensen", estimator="score-function")
    experts = [nn.Sequential(Linear(2, value), nn.Dropout(0.4)) for value in (None, float("inf"))]
    model = gw.MixtureOfExperts(nn.Linear(3, 2), experts, trunk=Normed()).train()
    train_step = TrainStep(model, objective, regularisers({"load": 0.1}), LoopConfig(), steps=9)
    statistics = train_step.new_statistics()
    for step in range(3):
        if step == bad_step:
            with pytest.raises(NonFiniteBatch) as raised:
                train_step.take_step(*rows(bad=range(24)), statistics)
            trace(train_step, raised.value.pieces)
        train_step.take_step(*rows(), statistics)
    state = (
        model.state_dict() | objective.state_dict() | {"s": statistics.sums, "noise": train_step.generator.get_state()}
    )
    return copy.deepcopy(state)


class Normed(nn.Module):
    """Batch statistics that every batch moves, beside x as it is."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x):
        return x + 0.0 * self.norm(x)


def test_a_batch_that_was_refused_leaves_no_trace():
    expected, found = stepping(None), stepping(1)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def fitted(skip, checkpoints=None, should_stop=lambda: False, bad=(3, 17)):
    torch.manual_seed(0)
    model = mixture(expert=Linear(2, float("nan")))
    config = LoopConfig(epochs=3, batch_size=8, skip_nonfinite=skip)
    objective = gw.objectives.get("jensen", estimator="score-function")
    result = fit(model, objective, rows(bad), rows(), config, checkpoints=checkpoints, should_stop=should_stop)
    return model.state_dict(), result


def test_so_many_are_passed_over_and_counted():
    _, result = fitted(skip=20)
    skipped = [line["train_skipped"] for line in result.history]
    assert sum(skipped) >= 3  # a batch is bad only where a bad row draws expert 1
    assert max(skipped) <= 2
    passed = [line for line in result.warnings if line.startswith("passed over a batch that is not finite: epoch ")]
    assert len(passed) == sum(skipped)
    with pytest.raises(gw.GatewiseError, match=r"diverged: epoch [123], batch . of 3 \(after step .*expert 1 is nan"):
        fitted(skip=sum(skipped) - 1)


def test_an_epoch_without_a_step_is_no_epoch():
    with pytest.raises(gw.GatewiseError, match="no batch of epoch 1 was finite"):
        fitted(skip=20, bad=range(24))


def test_what_diverged_goes_on_from_the_batch_before(tmp_path):
    """A longer budget gives what it would have given from the start, to the bit."""
    expected, whole = fitted(skip=20)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    with pytest.raises(gw.GatewiseError, match=r"the state before it is kept in .*checkpoints$"):
        fitted(skip=2, checkpoints=checkpoints)
    found, result = fitted(skip=20, checkpoints=checkpoints)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert [line["train_skipped"] for line in result.history] == [line["train_skipped"] for line in whole.history]


def test_a_run_goes_on_with_another_budget_and_nothing_else(tmp_path):
    keys = {"data": "wine", "experts": 2, "epochs": 2, "expert_hidden": [4]}
    run = train(RunConfig(**keys), tmp_path / "run", should_stop=lambda: True)
    with pytest.raises(gw.GatewiseError, match="but for skip_nonfinite and checkpoint_seconds; leave lr out"):
        resume(run.folder, settings={"lr": 0.1})
    with pytest.raises(gw.GatewiseError, match="the command line: skip_nonfinite"):
        resume(run.folder, settings={"skip_nonfinite": -1})
    assert resume(run.folder, settings={"skip_nonfinite": 2}).config.skip_nonfinite == 2
    assert "skip_nonfinite = 2" in (run.folder / "config.toml").read_text()
    assert "train_skipped" in (run.folder / "metrics.jsonl").read_text().splitlines()[-1]


def test_one_run_that_diverges_leaves_one_line_and_no_folder(tmp_path):
    keys = {"data": "wine", "experts": 2, "epochs": 4, "lr": 1e38, "lr_schedule": "constant", "clip": 0.0}
    with pytest.raises(gw.GatewiseError, match=r"^training diverged: epoch 1, batch .*; lower lr \(it was 1e\+38\)"):
        train(RunConfig(**keys), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_bad_rows_are_named_as_the_caller_numbers_them():
    x, y = rows(count=64)
    x[40, 1] = torch.nan
    x[7] = torch.inf
    with pytest.raises(gw.GatewiseError, match="not finite are the training rows 7, 40, counted from 0"):
        fit(mixture(), gw.objectives.get("jensen"), (x, y), None, LoopConfig(epochs=1, batch_size=8))
