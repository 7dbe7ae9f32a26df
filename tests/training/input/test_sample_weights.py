"""A weight is a number of rows: training by weights is training on rows repeated so often."""

import json

import pytest
import torch

import gatewise as gw
from gatewise.config import LoopConfig, load_config
from gatewise.metrics.gate import GateStatistics
from gatewise.mixture import mlp
from gatewise.runs import train
from gatewise.training import fit
from gatewise.training.input.sample_weights import check_weight, class_weights, of_rows
from gatewise.training.step import TrainStep
from tests.training.test_loop import blobs

EXACT = ["marginal", "jensen", "evidence", "hard-em"]


def double(seed=0):
    torch.manual_seed(seed)
    return gw.MixtureOfExperts(mlp(2, [8], 3), gw.MLPBank(3, 2, [8], 3)).double()


def rows(count, seed=0):
    x, y = blobs(count, seed)
    return (x + torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))).double(), y


def trained(objective, train, **options):
    mixture = double()
    config = LoopConfig(epochs=15, batch_size=10000, lr=0.03)
    return mixture, fit(mixture, gw.objectives.get(objective), train, None, config, num_classes=3, **options)


def same(first, second):
    return all(
        torch.allclose(a, b, rtol=1e-6, atol=1e-8) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )


@pytest.mark.parametrize("objective", EXACT)
def test_a_weight_is_a_number_of_rows(objective):
    x, y = rows(60)
    times = torch.randint(0, 4, (60,), generator=torch.Generator().manual_seed(1))
    weighted, _ = trained(objective, (x, y), weight=times)
    repeated, _ = trained(objective, (x.repeat_interleave(times, 0), y.repeat_interleave(times)))
    plain, _ = trained(objective, (x, y))
    scaled, _ = trained(objective, (x, y), weight=times * 7.5)
    assert same(weighted, repeated)
    assert same(weighted, scaled)
    assert not same(weighted, plain)


def test_micro_batches_carry_their_weights():
    x, y = rows(64)
    weight = torch.rand(64, generator=torch.Generator().manual_seed(2))
    mixtures = [double(), double()]
    for mixture, accumulate in zip(mixtures, (1, 4), strict=True):
        config = LoopConfig(accumulate=accumulate, lr=0.05, clip=0)
        train_step = TrainStep(mixture, gw.objectives.get("jensen"), [], config, steps=3)
        for _ in range(3):
            train_step.take_step(x, y, GateStatistics(3, torch.device("cpu")), weight=weight)
    assert same(*mixtures)


def test_batches_keep_a_row_with_its_weight():
    x, y = rows(50)
    train_step = TrainStep(double(), gw.objectives.get("jensen"), [], LoopConfig(), steps=1)
    for part, _, weight in train_step.batches(x, y, x[:, 0].clone(), batch_size=8):
        assert torch.equal(part[:, 0], weight)


def test_the_weighted_nll_decides_which_weights_are_kept():
    mixture = double()
    x, y = rows(100, 3)
    weight = torch.where(y == 0, 20.0, 1.0)
    config = LoopConfig(epochs=20, lr=0.3, lr_schedule="constant", patience=0)
    result = fit(mixture, gw.objectives.get("marginal"), rows(200), (x, y), config, validation_weight=weight)
    weighted = [line["validation_weighted_nll"] for line in result.history]
    plain = [line["validation_nll"] for line in result.history]
    assert result.best_epoch == weighted.index(min(weighted)) + 1 != plain.index(min(plain)) + 1
    nll = -mixture.log_prob(x, y).detach()
    assert float((weight * nll).sum() / weight.sum()) == pytest.approx(min(weighted), rel=1e-6)


def test_without_validation_rows_the_last_weights_are_kept():
    mixture, result = trained("marginal", rows(60))
    assert result.best_epoch == len(result.history) == 15
    assert "validation_nll" not in result.history[-1]
    assert not mixture.training
    assert -mixture.log_prob(*rows(60)).mean() < result.history[-1]["train_loss"] + 1e-3


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        (torch.ones(3), r"weight must have shape \[60\]"),
        (-torch.ones(60), "weight must hold finite numbers of at least 0"),
        (torch.full((60,), float("nan")), "weight must hold finite numbers"),
        (torch.zeros(60), "weight is 0 for every row"),
    ],
)
def test_weights_that_are_none(weight, said):
    with pytest.raises(gw.GatewiseError, match=said):
        trained("marginal", rows(60), weight=weight)


def test_balanced_classes_weigh_the_same_in_all():
    y = torch.tensor([0] * 6 + [1] * 3 + [2])
    weight = of_rows(class_weights("balanced", ["a", "b", "c"], y), y)
    assert torch.bincount(y, weight).tolist() == pytest.approx([10 / 3] * 3)
    assert class_weights(None, ["a", "b", "c"], y) is None
    assert of_rows(class_weights({"b": 4.0}, ["a", "b", "c"], y), y).tolist() == [1.0] * 6 + [4.0] * 3 + [1.0]
    assert check_weight(weight, 10, "weight").mean().item() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"malign": 2.0}, "class_weight has an unknown class 'malign'; did you mean 'malignant'"),
        ({"benign": 0.0}, "class_weight of 'benign' must be a number above 0"),
    ],
)
def test_a_class_that_is_not_there_is_refused_before_anything_is_written(chosen, said, tmp_path):
    config = load_config({"data": "breast_cancer", "class_weight": chosen})
    with pytest.raises(gw.GatewiseError, match=said):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_with_class_weights_favours_the_class(tmp_path):
    shares = []
    for name, chosen in (("plain", None), ("weighted", {"benign": 1000.0})):
        keys = {"data": "breast_cancer", "class_weight": chosen, "epochs": 4, "experts": 2, "expert_hidden": [16]}
        run = train(load_config(keys), tmp_path / name)
        shares.append(run.summary["details"]["confusion"])
        lines = (run.folder / "metrics.jsonl").read_text().splitlines()
        assert ("validation_weighted_nll" in json.loads(lines[0])) == (chosen is not None)
    (plain, weighted) = shares

    assert sum(row[0] for row in weighted) > sum(row[0] for row in plain)
