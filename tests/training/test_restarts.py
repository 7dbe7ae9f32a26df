"""Several starts: the best goes on, as if it had been the only one."""

import json

import pytest
import torch

import gatewise as gw
from gatewise.config import LoopConfig, RunConfig
from gatewise.errors import GatewiseError
from gatewise.runs import train
from gatewise.training import Callback, fit
from gatewise.training.checkpoints.folder import Checkpoints

from .alike import assert_same, without_times


def blobs(rows=90, seed=0):
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (rows,), generator=draw)
    return torch.randn(rows, 6, generator=draw) + torch.eye(6)[y], y


def make_mixture(scale=1.0):
    """A mixture whose experts are `scale` times as sure of themselves: at 1000, the last to go on."""
    mixture = gw.MixtureOfExperts(gw.mixture.mlp(6, [], 4), gw.MLPBank(4, 6, [8], 3, dropout=0.3))
    with torch.no_grad():
        for parameter in mixture.experts.parameters():
            parameter.mul_(scale)
    return mixture


class Watcher(Callback):
    def __init__(self):
        self.heard = []

    def on_epoch(self, metrics):
        self.heard.append((metrics.get("start"), metrics["epoch"]))

    def on_restart(self, history):
        self.heard.append(len(history))

    def on_choice(self, start, history, said):
        self.heard.append((start, len(history), said))


def trained(starts, first=1.0, others=1.0, stops=(), checkpoints=None, validation=True, objective=None, watcher=None):
    """Weights after 5 epochs of 3 steps, and what came of them."""
    torch.manual_seed(1)
    mixture = make_mixture(first)
    objective = gw.objectives.get("jensen", **objective or {"estimator": "score-function"})
    steps = iter(range(1, 200))
    result = fit(
        mixture,
        objective,
        blobs(),
        blobs(60, 1) if validation else None,
        LoopConfig(epochs=5, batch_size=30, starts=starts, patience=0),
        callbacks=[watcher] if watcher else [],
        should_stop=lambda: next(steps) in stops,
        checkpoints=checkpoints,
        model_factory=lambda: make_mixture(others),
    )
    return mixture.state_dict() | {f"o.{k}": v for k, v in objective.state_dict().items()}, result


@pytest.mark.parametrize("validation", [True, False])
def test_the_first_start_goes_on_as_if_it_had_been_the_only_one(validation):
    expected, alone = trained(1, validation=validation)
    found, result = trained(3, others=1000.0, validation=validation)
    assert_same(found, expected)
    assert without_times(result.history) == without_times(alone.history)
    assert len(result.restarts) == 3
    assert result.restarts[0] == min(result.restarts)
    assert alone.restarts == []


def test_another_start_goes_on_where_it_is_better():
    _, worse = trained(1, first=1000.0)
    _, result = trained(3, first=1000.0)
    assert result.restarts[0] > 2 * min(result.restarts)
    assert result.history[-1]["validation_nll"] < 0.5 * worse.history[-1]["validation_nll"]
    assert [line["epoch"] for line in result.history] == [1, 2, 3, 4, 5]
    assert not any("start" in line for line in result.history)


def test_the_last_start_goes_on_from_its_own_epochs_alone():
    scales = iter([1000.0, 1.0])
    torch.manual_seed(1)
    mixture = make_mixture(1000.0)
    config = LoopConfig(epochs=10, batch_size=30, starts=3, patience=0)
    result = fit(
        mixture,
        gw.objectives.get("jensen"),
        blobs(),
        blobs(60, 1),
        config,
        model_factory=lambda: make_mixture(next(scales)),
    )
    assert result.restarts.index(min(result.restarts)) == 2
    assert [line["epoch"] for line in result.history] == list(range(1, 11))
    steps = [line["step"] for line in result.history]
    assert steps == list(range(3, 31, 3))


def test_starts_differ_in_all_that_is_drawn():
    _, result = trained(4)
    assert len(set(result.restarts)) == 4


@pytest.mark.parametrize("step", [1, 3, 4, 6, 8, 9, 10, 14])
def test_an_interrupted_start_ends_the_same_to_the_bit(step, tmp_path):
    """3 starts of 3 steps, then 12 of the best."""
    expected, whole = trained(3, first=1000.0)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    _, cut = trained(3, first=1000.0, stops=[step], checkpoints=checkpoints)
    assert cut.stopped == "interrupted"
    assert cut.history
    found, result = trained(3, first=1000.0, checkpoints=checkpoints)
    assert_same(found, expected)
    assert without_times(result.history) == without_times(whole.history)
    assert (result.restarts, result.best_epoch) == (whole.restarts, whole.best_epoch)


def test_a_checkpoint_of_other_starts_is_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    trained(3, stops=[4], checkpoints=checkpoints)
    said = r"of another training \(with other starts\); restore the folder checkpoints"
    with pytest.raises(GatewiseError, match=f"the checkpoint of step 1 is {said}"):
        trained(1, checkpoints=checkpoints)
    kept, _ = checkpoints.latest()
    for forged in ({"scores": 3}, {"scores": ["a"]}, {"scores": [0.5] * 4}, {"best_start": 1}):
        kept.state.update({"scores": [0.5], "best_start": {"step": 3}} | forged)
        checkpoints.save(kept)
        with pytest.raises(GatewiseError, match=f"is {said}"):
            trained(3, checkpoints=checkpoints)


def test_starts_as_long_as_the_training(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    torch.manual_seed(1)
    arguments = (gw.objectives.get("jensen"), blobs(), blobs(60, 1), LoopConfig(epochs=1, batch_size=30, starts=2))
    result = fit(make_mixture(), *arguments, checkpoints=checkpoints, model_factory=make_mixture)
    assert [line["epoch"] for line in result.history] == [1]
    assert len(result.restarts) == 2


def test_what_is_interrupted_leaves_the_best_start_so_far():
    """In the second start, which is bad, after the first is over."""
    found, cut = trained(3, others=1000.0, stops=[5])
    assert cut.stopped == "interrupted"
    x, y = blobs(60, 1)
    mixture = make_mixture()
    mixture.load_state_dict({name: value for name, value in found.items() if not name.startswith("o.")})
    assert -mixture.eval().log_prob(x, y).mean().item() == pytest.approx(cut.restarts[0], rel=1e-5)


def test_watchers_are_told():
    watcher = Watcher()
    _, result = trained(2, others=1000.0, watcher=watcher)
    found = ", ".join(f"{nll:.4f}" for nll in result.restarts)
    said = f"start 1 of 2 goes on: validation NLL {found} after 1 epochs"
    assert watcher.heard == [(1, 1), 0, (2, 1), (1, 1, said), (None, 2), (None, 3), (None, 4), (None, 5)]


def test_weights_that_cannot_be_drawn_anew():
    arguments = (make_mixture(), gw.objectives.get("jensen"), blobs(), blobs(30))
    with pytest.raises(GatewiseError, match="starts is 2, but nothing draws these weights anew"):
        fit(*arguments, LoopConfig(epochs=5, starts=2))
    assert fit(*arguments, LoopConfig(epochs=5)).restarts == []


def test_a_run_folder_holds_the_epochs_of_the_best_start_alone(tmp_path):
    run = train(RunConfig(data="iris", epochs=10, seed=3), tmp_path / "run")
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, len(lines) + 1))
    assert not any("start" in line for line in lines)
    assert len(run.summary["starts"]) == 3
    assert min(run.summary["starts"]) == min(line["validation_nll"] for line in lines[:2])


def test_frozen_weights_stay_in_every_start():
    torch.manual_seed(0)
    mixture = make_mixture()
    for parameter in mixture.gate.parameters():
        parameter.requires_grad_(False)
    before = {name: value.clone() for name, value in mixture.gate.state_dict().items()}
    fit(
        mixture,
        gw.objectives.get("jensen"),
        blobs(),
        blobs(30),
        LoopConfig(epochs=5, starts=3),
        model_factory=make_mixture,
    )
    assert_same(mixture.gate.state_dict(), before)
