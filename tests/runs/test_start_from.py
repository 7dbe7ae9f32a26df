import numpy as np
import polars as pl
import pytest
import torch

from gatewise import GatewiseError
from gatewise.comparison import compare
from gatewise.config import load_config
from gatewise.runs import Run, train
from gatewise.runs.start_from import argmax_counts, with_experts
from tests.chance import seeded
from tests.mixture.models import bank_mixture, data
from tests.runs.test_run import quick


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return train(quick(lr=0.01, seed=3), tmp_path_factory.mktemp("runs") / "first")


def onwards(first, **keys):
    return load_config({"data": "wine", "epochs": 1, "lr": 1e-9, "start_from": str(first.folder), **keys})


def test_training_goes_on_from_the_weights_with_the_runs_own_shape_and_split(first, tmp_path):
    run = train(onwards(first), tmp_path / "run")
    assert run.summary["test"]["nll"] == pytest.approx(first.summary["test"]["nll"], abs=1e-5)
    assert run.summary["data"]["test_hash"] == first.summary["data"]["test_hash"]
    assert (run.config.experts, run.config.expert_hidden, run.config.seed) == (3, [8], 3)
    assert Run.load(run.folder).config == run.config


@pytest.mark.parametrize("experts", [2, 5])
def test_experts_are_added_by_splitting_the_most_used_and_removed_from_the_least(first, tmp_path, experts):
    run = train(onwards(first, experts=experts), tmp_path / "run")
    loaded = Run.load(run.folder)
    assert loaded.model.mixture.num_experts == run.summary["model"]["experts"] == experts
    if experts > 3:  # the split leaves the likelihood but for the noise
        assert run.summary["test"]["nll"] == pytest.approx(first.summary["test"]["nll"], abs=0.03)


def test_the_most_used_are_split_and_the_least_used_removed():
    mixture, (x, _) = bank_mixture(), data(rows=500)
    counts = argmax_counts(mixture, x)
    assert sum(counts) == 500
    order = sorted(range(5), key=counts.__getitem__)
    assert counts[order[-1]] > counts[order[-2]]
    grown = with_experts(mixture, 6, x, seeded(1))
    old, new = mixture.gate_proba(x), grown.gate_proba(x)
    torch.testing.assert_close(new[:, 5], old[:, order[-1]] / 2)
    kept = [k for k in range(5) if k != order[0]]
    left = old[:, kept] / old[:, kept].sum(-1, keepdim=True)
    torch.testing.assert_close(with_experts(mixture, 4, x, seeded(1)).gate_proba(x), left)


def test_a_relative_folder_is_kept_as_an_absolute_one(first, tmp_path, monkeypatch):
    monkeypatch.chdir(first.folder.parent)
    run = train(load_config({"data": "wine", "epochs": 1, "start_from": "first"}), tmp_path / "run")
    assert run.config.start_from == str(first.folder.resolve())


def test_other_rows_with_the_same_columns_and_classes(tmp_path):
    """New rows keep the run's scaling; a new class, or a column that is missing, is refused."""
    rng = np.random.default_rng(0)
    label = rng.permutation(np.repeat([0, 1], 50))
    table = pl.DataFrame({"a": rng.normal(size=100) + 2 * label, "b": rng.normal(size=100), "y": label.astype(str)})
    table.write_csv(tmp_path / "old.csv")
    small = {"epochs": 2, "experts": 2, "expert_hidden": [4]}
    old = train(load_config({"data": str(tmp_path / "old.csv"), "target": "y", **small}), tmp_path / "old")

    def again(new, name):
        new.write_csv(tmp_path / f"{name}.csv")
        keys = {"data": str(tmp_path / f"{name}.csv"), "epochs": 1, "start_from": str(old.folder)}
        return train(load_config(keys), tmp_path / name)

    run = again(table.with_columns(pl.col("a") + 1), "shifted")
    assert run.config.target == "y"
    rows = old.read(str(tmp_path / "shifted.csv"), require_target=True)
    assert torch.equal(run.model.inputs(rows), old.model.inputs(rows))
    with pytest.raises(GatewiseError, match="none of the classes known"):
        again(table.with_columns(y=pl.lit("2")).vstack(table), "class")
    with pytest.raises(GatewiseError, match="no column 'b', which the model was trained on"):
        again(table.drop("b"), "column")
    assert not (tmp_path / "column").exists()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"expert_hidden": [9]}, r"expert_hidden is \[9\], but the run to start from .* leave expert_hidden out"),
        ({"numeric": "quantile"}, "numeric is 'quantile', but"),
        ({"seed": 4}, "with another seed they are split otherwise"),
        ({"test_size": 0.3}, "with another test_size"),
        ({"start_from": "nowhere"}, "there is no run folder .*nowhere"),
    ],
)
def test_what_does_not_fit_is_refused(first, tmp_path, keys, said):
    with pytest.raises(GatewiseError, match=said):
        train(onwards(first, **keys), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_comparison_starts_from_it_too(first, tmp_path):
    result = compare(onwards(first), tmp_path / "c", objectives=["marginal"], seeds=1)
    assert not result.failed
