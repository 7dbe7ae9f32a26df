import json
import math

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

from gatewise.cli import main
from gatewise.runs import Run

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
        ([*train, "--target", "y", "--head", "gamma"], "head: unknown head 'gamma'"),
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


@pytest.fixture(scope="module")
def weather(tmp_path_factory):
    """Three labels as people write them; what makes rain is another thing by the sea than inland."""
    draw = np.random.default_rng(1)
    cloud, sea = draw.uniform(-2, 2, 300), draw.random(300) < 0.5
    rain = np.where(sea, cloud > 0, cloud < 0)
    path = tmp_path_factory.mktemp("weather") / "weather.csv"
    pl.DataFrame({
        "cloud": cloud, "place": np.where(sea, "sea", "inland"), "rain": np.where(rain, "yes", "no"),
        "wind": (cloud + draw.normal(0, 0.3, 300) > 0.5).astype(int), "hot, dry": ~rain & (cloud > -1),
        "level": draw.integers(0, 3, 300),
    }).write_csv(path)  # fmt: skip
    return path


LABELS = 'rain,wind,"hot, dry"'


@pytest.fixture(scope="module")
def labelled(tmp_path_factory, weather):
    folder = tmp_path_factory.mktemp("runs") / "labels"
    with pytest.raises(SystemExit) as stopped:
        main(["train", str(weather), "--target", LABELS, "--out", str(folder), *QUICK, "--set", "lr=0.02"])
    assert not stopped.value.code
    return folder


def test_a_run_of_labels_from_data_to_report(gatewise, weather, labelled):
    summary = json.loads((labelled / "summary.json").read_text())
    assert summary["model"]["head"] == "bernoulli"  # as guessed
    assert [label["values"] for label in summary["data"]["labels"]] == [["no", "yes"], ["0", "1"], ["false", "true"]]
    found = gatewise("evaluate", labelled, weather, "--json").json
    frame = pl.read_csv(weather)
    there = np.stack([frame["rain"] == "yes", frame["wind"] == 1, frame["hot, dry"]], 1)
    # labels without features must be beaten, by their likelihood and by what is right
    share = there.mean(0)
    assert found["nll"] < -(share * np.log(share) + (1 - share) * np.log(1 - share)).sum() - 0.3
    assert found["accuracy"] > np.maximum(share, 1 - share).mean() + 0.1
    assert [label["share"] for label in found["labels"]] == pytest.approx(share.tolist())
    shown = gatewise("evaluate", labelled)
    assert shown.status == 0
    assert "hot, dry" in shown.out
    page = (labelled / "report.html").read_text()
    for said in ("of the single labels", "Which expert answers rows with which label", "hot, dry", "Each label, test"):
        assert said in page
    assert gatewise("report", labelled).status == 0
    assert 'head = "bernoulli"' in (labelled / "config.toml").read_text()


def test_predictions_of_labels_are_their_probabilities(gatewise, weather, labelled, tmp_path):
    alone = tmp_path / "alone.csv"
    pl.read_csv(weather).drop("rain", "wind", "hot, dry").write_csv(alone)
    assert gatewise("predict", labelled, alone, "-o", tmp_path / "p.parquet").status == 0
    frame = pl.read_parquet(tmp_path / "p.parquet")
    assert frame.columns == ["p_rain", "p_wind", "p_hot, dry", "expert"]
    run = Run.load(labelled)
    x, y = run.model.rows(run.read(str(weather), require_target=True))
    probs = run.model.mixture.predict_mean(x).numpy()
    np.testing.assert_allclose(frame.drop("expert").to_numpy(), probs, rtol=1e-5)
    right = ((probs > 0.5) == (y.numpy() > 0.5)).mean()
    assert run.figures(run.stream(str(weather), require_target=True))["accuracy"] == pytest.approx(right)


def test_a_run_of_labels_is_audited_repeated_and_gone_on_with(gatewise, weather, labelled, tmp_path):
    assert gatewise("audit", labelled, "--seconds", "1", "--rows", "64", "--out", tmp_path / "audit").status == 0
    again = gatewise("train", "--config", labelled / "config.toml", "--out", tmp_path / "again", "--json")
    there = json.loads((labelled / "summary.json").read_text())
    assert again.json["test"] == there["test"]
    further = ["train", weather, "--set", f"start_from={labelled}", "--epochs", "1", "--out", tmp_path / "further"]
    assert gatewise(*further, "--json").json["data"]["labels"] == there["data"]["labels"]
    page = gatewise("report", labelled, tmp_path / "further", "-o", tmp_path / "both.html")
    assert page.status == 0
    assert "F1, macro" in (tmp_path / "both.html").read_text()


def test_arrays_and_single_columns_of_labels(gatewise, weather, tmp_path):
    draw = np.random.default_rng(0)
    x = draw.normal(size=(120, 3))
    np.savez(tmp_path / "labels.npz", x=x, y=(x > 0).astype(int))
    found = gatewise("train", tmp_path / "labels.npz", "--out", tmp_path / "arrays", *QUICK, "--json").json
    assert [label["name"] for label in found["data"]["labels"]] == ["y0", "y1", "y2"]
    assert gatewise("evaluate", tmp_path / "arrays", tmp_path / "labels.npz").status == 0
    words = ["train", weather, "--out", tmp_path / "one", *QUICK, "--set", "drop=['wind','hot, dry']"]
    told = gatewise(*words, "--target", "rain", "--head", "bernoulli")
    assert "Labels, each with the value that counts as 1: 'rain' 'yes'." in told.out


def test_labels_that_do_not_fit_are_one_line(gatewise, weather, labelled, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text('cloud,place,rain,wind,"hot, dry"\n0.5,sea,perhaps,1,true\n')
    train = ["train", weather, "--out", tmp_path / "none"]
    for words, said in (
        ([*train, "--target", "rain,level"], "the target 'level' has 3 values ('0', '1', '2')"),
        ([*train, "--target", "level", "--head", "bernoulli"], "a label of the head bernoulli has two"),
        ([*train, "--target", "rain,wind", "--head", "categorical"], "2 labels a row ('rain', 'wind'), and one is"),
        ([*train, "--target", "rain,wind", "--head", "gaussian"], "several at once are for the head bernoulli"),
        ([*train, "--target", "rain,hot, dry"], "no column 'hot' to take the labels from (commas stand between"),
        ([*train, "--target", "rain,"], "a comma without a name beside it"),
        ([*train, "--target", "rain,wind", "--class-weight", "balanced"], "class_weight is for classes"),
        (["export", labelled], "has the head bernoulli"),
        (["evaluate", labelled, "--calibrated"], "--calibrated is for classes"),
        (["evaluate", labelled, bad], "line 2, target 'rain': the label 'perhaps' is none of the classes known"),
        (["predict", labelled, weather, "--abstain-above", "1"], "its predictions have the probability of each"),
        (["compare", weather, "--target", "rain,wind"], "compare judges by accuracy, and the target is labels"),
    ):
        refused = gatewise(*words)
        assert refused.status == 2, words
        assert said in refused.err
        assert refused.err.count("\n") == 1
    assert not (tmp_path / "none").exists()
