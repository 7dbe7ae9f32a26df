import math

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

from gatewise.cli import main

QUICK = ["--epochs", "15", "--experts", "2", "--set", "expert_hidden=[16]"]


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """A slope whose sign is a category, far from 0 and in large units; counts; and classes."""
    draw = np.random.default_rng(0)
    x, up = draw.uniform(-2, 2, 300), draw.random(300) < 0.5
    slope = np.where(up, x, -x)
    path = tmp_path_factory.mktemp("numbers") / "slopes.parquet"
    pl.DataFrame({
        "x": x, "way": np.where(up, "up", "down"), "y": 5000 + 100 * slope + draw.normal(0, 10, 300),
        "count": draw.poisson(np.exp(2 + slope)), "kind": np.where(x > 0, "right", "left"),
    }).write_parquet(path)  # fmt: skip
    return path


@pytest.fixture(scope="module")
def regression(tmp_path_factory, numbers):
    folder = tmp_path_factory.mktemp("runs") / "y"
    with pytest.raises(SystemExit) as stopped:
        main(["train", str(numbers), "--target", "y", "--out", str(folder), *QUICK, "--set", "lr=0.02"])
    assert not stopped.value.code
    return folder


def test_a_run_of_numbers_from_data_to_report(gatewise, numbers, regression):
    found = gatewise("evaluate", regression, numbers, "--json").json
    frame = pl.read_parquet(numbers)
    spread = frame["y"].std()
    assert found["rmse"] < spread / 2
    assert found["crps"] < found["mae"]
    # a Gaussian of all rows is what the mixture must beat, in the target's own units
    assert found["nll"] < 0.5 + math.log(spread * math.sqrt(2 * math.pi))
    page = (regression / "report.html").read_text()
    assert "target of numbers, head gaussian" in page
    assert "should hold 90\N{NO-BREAK SPACE}%" in page
    assert gatewise("evaluate", regression).status == 0
    assert 'head = "gaussian"' in (regression / "config.toml").read_text()
    assert gatewise("report", regression).status == 0


def test_predictions_are_in_units_of_the_target(gatewise, numbers, regression, tmp_path):
    assert gatewise("predict", regression, numbers, "-o", tmp_path / "p.parquet").status == 0
    frame = pl.read_parquet(tmp_path / "p.parquet")
    assert frame.columns == ["mean", "sd", "q05", "q25", "q50", "q75", "q95", "expert"]
    y = pl.read_parquet(numbers)["y"]
    assert (frame["mean"] - y).abs().mean() < y.std() / 2
    quantiles = frame.select("q05", "q25", "q50", "q75", "q95").to_numpy()
    assert (np.diff(quantiles) > 0).all()
    assert (quantiles[:, -1] - quantiles[:, 0]).mean() == pytest.approx(
        (2 * norm.ppf(0.95) * frame["sd"]).mean(), rel=0.5
    )


def test_counts_are_named_where_numbers_are_guessed_and_taken_where_they_are_asked_for(gatewise, numbers, tmp_path):
    words = ["train", numbers, "--target", "count", *QUICK]
    assert "for counts give --head poisson" in gatewise(*words, "--out", tmp_path / "guessed").out
    found = gatewise(*words, "--head", "poisson", "--out", tmp_path / "counts", "--json").json
    assert found["model"]["head"] == "poisson"
    assert found["data"]["guessed"] is None
    assert found["test"]["poisson_deviance"] > 0
    page = gatewise("report", tmp_path / "guessed", tmp_path / "counts", "-o", tmp_path / "both.html")
    assert page.status == 0


def test_what_does_not_fit_is_one_line(gatewise, numbers, regression, tmp_path):
    train = ["train", numbers, "--out", tmp_path / "none"]
    for words, said in (
        ([*train, "--target", "kind", "--head", "gaussian"], "which is no number; the head gaussian predicts numbers"),
        ([*train, "--target", "y", "--head", "poisson"], "which is no count"),
        ([*train, "--target", "y", "--head", "gamma"], "head: input should be"),
        ([*train, "--target", "y", "--set", "class_weight=balanced"], "class_weight is for classes"),
        (["export", regression], "has the head gaussian"),
        (["evaluate", regression, "--calibrated"], "--calibrated is for classes"),
        (["predict", regression, numbers, "--abstain-above", "1"], "are for classes"),
        (["compare", numbers, "--target", "y"], "compare judges by accuracy"),
    ):
        refused = gatewise(*words)
        assert refused.status == 2, words
        assert said in refused.err
        assert refused.err.count("\n") == 1
    assert not (tmp_path / "none").exists()
