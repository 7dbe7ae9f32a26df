import pytest
import torch

import gatewise as gw
from gatewise.config import LoopConfig
from gatewise.metrics.gate import GateStatistics
from gatewise.mixture import mlp
from gatewise.objectives import regularisers
from gatewise.objectives.regularisers import REGULARISERS
from gatewise.training import Callback, fit
from gatewise.training.input.batching import batch_bounds, default_batch_size
from gatewise.training.step import TrainStep


def blobs(rows=400, seed=0):
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (rows,), generator=generator)
    centres = torch.tensor([[2.0, 0], [-2, 0], [0, 3]])
    return centres[y] + 0.5 * torch.randn(rows, 2, generator=generator), y


def small(seed=0, experts=3, dropout=0.0):
    torch.manual_seed(seed)
    return gw.MixtureOfExperts(mlp(2, [8], experts), gw.MLPBank(experts, 2, [8], 3, dropout))


def train(mixture, objective="jensen", regulariser=None, **config):
    settings = LoopConfig(**{"epochs": 8, "lr": 0.03, **config})
    made = gw.objectives.get(objective) if isinstance(objective, str) else objective
    return fit(mixture, made, blobs(), blobs(100, 1), settings, regularisers=regularisers(regulariser or {}))


@pytest.mark.parametrize("name", gw.objectives.names())
def test_every_objective_learns(name):
    mixture, (x, y) = small(), blobs(100, 1)
    assert -mixture.log_prob(x, y).mean() > 0.8
    result = train(mixture, name)
    assert min(h["validation_nll"] for h in result.history) < 0.15


@pytest.mark.parametrize("name", gw.estimators.names())
def test_jensen_learns_with_every_estimator(name):
    mixture = small()
    options = {"num_categories": mixture.num_experts} if "num_categories" in gw.estimators.options(name) else {}
    estimator = gw.estimators.get(name, **options)
    objective = gw.objectives.get("jensen", estimator=estimator, num_samples=estimator.sample_counts.start)
    result = train(mixture, objective, {"load": 0.1})
    assert min(h["validation_nll"] for h in result.history) < 0.2


def test_the_best_weights_are_kept():
    mixture = small()
    result = train(mixture, epochs=8, lr=0.5, lr_schedule="constant", patience=0)  # a rate that overshoots
    nlls = [h["validation_nll"] for h in result.history]
    assert nlls[-1] > min(nlls)
    x, y = blobs(100, 1)
    assert -mixture.log_prob(x, y).mean().item() == pytest.approx(min(nlls), rel=1e-5)
    assert result.best_epoch == nlls.index(min(nlls)) + 1
    assert not mixture.training


def test_early_stopping():
    result = train(small(), epochs=200, lr=0.5, lr_schedule="constant", patience=3)
    assert result.stopped == "early"
    assert len(result.history) == result.best_epoch + 3


def test_one_seed_fixes_everything():
    first, second, other = small(), small(), small()
    history = train(first, seed=1).history
    train(second, seed=1)
    train(other, seed=2)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    assert all(h["seconds"] > 0 for h in history)


@pytest.mark.parametrize("kind", sorted(REGULARISERS))
def test_accumulating_gradients_changes_nothing_but_memory(kind):
    """Four micro-batches take the step of one batch, balance statistics and running baseline included."""
    x, y = blobs(64)
    whole, parts = small(), small()
    baselines = []
    for mixture, accumulate in ((whole, 1), (parts, 4)):
        objective = gw.objectives.get("jensen", estimator=gw.estimators.get("enumeration"))
        config = LoopConfig(accumulate=accumulate, lr=0.05, clip=0)
        train_step = TrainStep(mixture, objective, regularisers({kind: 0.5}), config, steps=3)
        statistics = GateStatistics(3, torch.device("cpu"))
        for _ in range(3):
            seen = train_step.take_step(x, y, statistics)
        baselines.append((seen, statistics.metrics()))
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(baselines[0][0], baselines[1][0], rtol=1e-4, atol=1e-5)
    assert baselines[0][1] == pytest.approx(baselines[1][1], rel=1e-3)


def test_a_running_baseline_moves_once_an_optimiser_step():
    x, y = blobs(64)
    estimator = gw.estimators.get("score-function", baseline="running-mean", decay=0.5)
    objective = gw.objectives.get("jensen", estimator=estimator)
    train_step = TrainStep(small(), objective, [], LoopConfig(accumulate=4), steps=3)
    train_step.take_step(x, y, GateStatistics(3, torch.device("cpu")))
    assert estimator.baseline.weight.item() == pytest.approx(0.5)  # four updates would have left 1 - 0.5**4


def test_the_learned_baseline_is_trained():
    estimator = gw.estimators.get("score-function", baseline="learned", context_dim=2)
    before = {name: value.detach().clone() for name, value in estimator.named_parameters()}
    train(small(), gw.objectives.get("jensen", estimator=estimator), epochs=2)
    assert all(not torch.equal(before[name], value) for name, value in estimator.named_parameters())


def test_temperature_and_weights_follow_their_schedules():
    estimator = gw.estimators.get("gumbel-softmax", temperature="linear:2:1")
    history = train(small(), gw.objectives.get("jensen", estimator=estimator), epochs=4, patience=0).history
    temperatures = [h["temperature"] for h in history]
    assert temperatures == sorted(temperatures, reverse=True)
    assert 1.0 < temperatures[-1] < 1.1


def test_a_loss_that_is_not_finite_stops_in_words():
    x, y = blobs()
    with pytest.raises(gw.GatewiseError, match=r"diverged: epoch 1, batch 1 .* the rows hold nan .* lower lr"):
        fit(small(), gw.objectives.get("jensen"), (x * float("nan"), y), (x, y), LoopConfig(epochs=1))


def test_no_rows_and_nothing_to_train():
    x, y = blobs()
    with pytest.raises(gw.GatewiseError, match="at least one training row"):
        fit(small(), gw.objectives.get("jensen"), (x[:0], y[:0]), (x, y))
    with pytest.raises(gw.GatewiseError, match="frozen"):
        fit(small().requires_grad_(False), gw.objectives.get("jensen"), (x, y), (x, y))


class Recorder(Callback):
    def __init__(self):
        self.calls = []

    def on_start(self, epochs, steps_per_epoch):
        self.calls.append("start")

    def on_step(self, step):
        self.calls.append(step)

    def on_epoch(self, metrics):
        self.calls.append("epoch")

    def on_end(self):
        self.calls.append("end")


def test_callbacks_and_stopping():
    recorder = Recorder()
    x, y = blobs(64)
    config = LoopConfig(epochs=2, batch_size=32)
    fit(small(), gw.objectives.get("jensen"), (x, y), (x, y), config, callbacks=[recorder])
    assert recorder.calls == ["start", 1, 2, "epoch", 3, 4, "epoch", "end"]
    stopper = Recorder()
    stopped = fit(
        small(), gw.objectives.get("jensen"), (x, y), (x, y), config, callbacks=[stopper], should_stop=lambda: True
    )
    assert stopper.calls == ["start", 1, "epoch", "end"]  # judged once, so that there is a model to keep
    assert stopped.stopped == "interrupted"
    assert stopped.best_epoch == 1


@pytest.mark.parametrize("rows", [1, 2, 31, 32, 33, 47, 48, 49, 64, 1000])
def test_batches_cover_all_rows_and_none_is_tiny(rows):
    sizes = [len(part) for part in torch.arange(rows).tensor_split(batch_bounds(rows, 32))]
    assert sum(sizes) == rows
    assert all(16 <= size <= 48 for size in sizes) or len(sizes) == 1


def test_default_batch_size():
    assert [default_batch_size(rows) for rows in (10, 700, 1293, 10**6)] == [64, 64, 64, 256]


def test_the_seed_of_a_fit_fixes_dropout_too():
    first, second = small(dropout=0.5), small(dropout=0.5)
    before = torch.random.get_rng_state()
    train(first, epochs=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(7)
    train(second, epochs=2)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_fit_leaves_the_running_baseline_running():
    estimator = gw.estimators.get("score-function")
    train(small(), gw.objectives.get("jensen", estimator=estimator), epochs=1)
    assert not estimator.hold_statistics


def test_a_class_that_only_validation_has():
    x, y = blobs(64)
    result = fit(small(), gw.objectives.get("jensen"), (x, y.clamp(max=1)), (x, y), LoopConfig(epochs=1))
    assert result.best_epoch == 1
