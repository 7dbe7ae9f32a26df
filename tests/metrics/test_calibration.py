import json
import math

import numpy as np
import polars as pl
import pytest
import sklearn
import torch
from packaging.version import Version
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from gatewise import GatewiseError
from gatewise.config import RunConfig
from gatewise.metrics import tempered
from gatewise.metrics.calibration import Calibration, calibration_figures, find_temperature, fit_calibration
from gatewise.mixture import MixtureOfExperts, MLPBank, mlp
from gatewise.mixture.information import entropy
from gatewise.models import Trust
from gatewise.runs import Run, train


def too_sure(classes, by, rows=4000):
    """Log-probabilities whose labels were drawn at temperature `by`."""
    generator = torch.Generator().manual_seed(classes)
    log_probs = (2 * torch.randn(rows, classes, dtype=torch.float64, generator=generator)).log_softmax(-1)
    y = torch.multinomial(tempered(log_probs, by).exp(), 1, generator=generator).squeeze(1)
    return log_probs, y


@pytest.mark.skipif(Version(sklearn.__version__) < Version("1.8"), reason="scikit-learn scales no temperature yet")
@pytest.mark.parametrize("classes", [2, 5])
def test_the_temperature_is_that_of_scikit_learn(classes):
    log_probs, y = too_sure(classes, 2.0)
    plain = LogisticRegression(C=1e6).fit(log_probs.numpy(), y.numpy())
    scikit = CalibratedClassifierCV(FrozenEstimator(plain), method="temperature").fit(log_probs.numpy(), y.numpy())
    own = torch.from_numpy(plain.predict_log_proba(log_probs.numpy()))
    found = tempered(own * 1.7, find_temperature(own * 1.7, y)).exp().numpy()
    np.testing.assert_allclose(found, scikit.predict_proba(log_probs.numpy()), atol=2e-4)


@pytest.mark.parametrize("truth", [0.5, 1.6, 4.0])
def test_the_temperature_of_the_labels_is_found(truth):
    # log T has a standard error of about 2 % here; a wrong sign or an inverse would be off by 40 % at least
    assert find_temperature(*too_sure(4, truth)) == pytest.approx(truth, rel=0.12)


def test_what_gains_nothing_is_left_alone():
    # 5 in 100 are expected to be changed by chance, and more than 12 with a probability of 0.1 %; without the guard all
    log_probs, y = too_sure(3, 1.0, rows=20000)
    changed = [find_temperature(*part) != 1.0 for part in zip(log_probs.split(200), y.split(200), strict=True)]
    assert sum(changed) <= 12


def test_a_probability_of_0_for_what_happened_has_a_temperature_too():
    impossible = torch.tensor([[0.0, -torch.inf], [0.0, -torch.inf]], dtype=torch.float64)
    assert math.isfinite(find_temperature(impossible, torch.tensor([0, 1])))


@pytest.fixture(scope="module")
def scene():
    torch.manual_seed(5)
    mixture = MixtureOfExperts(mlp(5, [8], 4), MLPBank(4, 5, [6], 3)).eval()
    with torch.no_grad():
        for parameter in mixture.parameters():
            parameter.mul_(3)
    x = torch.randn(3000, 5)
    y = torch.multinomial(tempered(mixture(x).detach(), 2.5).exp(), 1).squeeze(1)
    return mixture, x, y


def test_figures_before_and_after_agree_with_scikit_learn(scene):
    mixture, x, y = scene
    calibration = fit_calibration(mixture, x[:1500], y[:1500])
    told = calibration_figures(mixture, calibration, x[1500:], y[1500:])
    assert calibration.rows == told["fitted_on"] == 1500
    for route in ("mixture", "top1"):
        found = told[route]
        before = mixture.predict_proba(x[1500:], route).double().numpy()
        before /= before.sum(1, keepdims=True)
        after = before ** (1 / found["temperature"])
        after /= after.sum(1, keepdims=True)
        for when, probs in (("before", before), ("after", after)):
            assert found[when]["nll"] == pytest.approx(log_loss(y[1500:], probs), rel=1e-4)
            brier = sum(brier_score_loss(y[1500:].numpy() == c, probs[:, c]) for c in range(probs.shape[1]))
            assert found[when]["brier"] == pytest.approx(brier, rel=1e-4)
        assert found["temperature"] > 1.5
        assert found["after"]["nll"] < found["before"]["nll"] - 0.1
        assert found["after"]["ece"] < found["before"]["ece"] / 2


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that is much too sure: labels half of which are chance, learnt by heart."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(400, 6))
    y = np.where(draw.random(400) < 0.5, x[:, 0] > 0, draw.random(400) < 0.5)
    folder = tmp_path_factory.mktemp("run")
    table = pl.DataFrame({f"x{i}": x[:, i] for i in range(6)} | {"y": np.where(y, "yes", "no")})
    table.write_parquet(folder / "rows.parquet")
    config = RunConfig(
        data=str(folder / "rows.parquet"), target="y", experts=2, epochs=25, patience=0, validation_size=0.4,
        dropout=0.0, lr=0.01,
    )  # fmt: skip
    return train(config, folder / "run")


def test_it_is_kept_in_the_run_folder_and_told_in_the_summary(run):
    loaded = Run.load(run.folder)
    assert loaded.model.calibration == run.model.calibration
    assert loaded.summary["calibration"]["mixture"]["temperature"] == loaded.model.calibration.mixture
    assert "Temperature fitted on 128 validation rows" in (run.folder / "report.html").read_text()
    assert "If it abstains where it is least sure" in (run.folder / "report.html").read_text()


def test_predictions_and_evaluations_take_the_temperature(run):
    kept = Calibration(mixture=2.0, top1=3.0, rows=10)
    kept.save(run.folder / "model")
    loaded = Run.load(run.folder)
    for route, temperature in (("mixture", 2.0), ("top1", 3.0)):
        plain = loaded.predict(run.config.data, route=route).frame()
        calm = loaded.predict(run.config.data, route=route, trust=Trust(calibrated=True)).frame()
        wanted = plain["p_yes"] ** (1 / temperature) / (
            plain["p_yes"] ** (1 / temperature) + plain["p_no"] ** (1 / temperature)
        )
        np.testing.assert_allclose(calm["p_yes"], wanted, rtol=1e-5)
        assert calm["label"].equals(plain["label"])
    rows = loaded.test_rows()
    plain, calm = loaded.evaluate(rows), loaded.evaluate(rows, calibrated=True)
    assert (plain.accuracy, plain.bound_gap, plain.jensen) == (calm.accuracy, calm.bound_gap, calm.jensen)
    assert plain.nll != calm.nll
    assert plain.nll_top1 != calm.nll_top1
    assert plain.ece != calm.ece
    run.model.calibration.save(run.folder / "model")


def test_uncertainty_and_abstaining_add_columns(run):
    frame = run.predict(run.config.data, trust=Trust(uncertainty=True, abstain_above=0.3)).frame()
    assert frame.columns[-4:] == ["entropy", "expected_entropy", "information", "abstained"]
    np.testing.assert_allclose(frame["entropy"], frame["expected_entropy"] + frame["information"], atol=1e-6)
    probs = torch.tensor(frame.select("p_no", "p_yes").to_numpy())
    assert frame["abstained"].to_list() == (entropy(probs) > 0.3).tolist()
    assert frame["label"].is_null().equals(frame["abstained"].alias("label"))
    assert 0 < frame["abstained"].sum() < len(frame)


def test_the_threshold_of_the_table_keeps_the_rows_it_says(run):
    rows = run.test_rows()
    table = run.tally(rows).selective.table()
    above = table[1]["abstain_above"]
    kept = ~run.predict(run.config.data, trust=Trust(abstain_above=above)).frame()["abstained"]
    everything = run.tally(run.read(run.config.data, require_target=True)).selective
    assert int(everything.counts[0].sum()) == len(kept)
    assert abs(kept.mean() - table[1]["kept"]) < 0.2


def test_what_cannot_be_asked_is_refused(run, tmp_path):
    with pytest.raises(GatewiseError, match="at least 0, got -1"):
        Trust(abstain_above=-1)
    with pytest.raises(GatewiseError, match="no such split"):
        Trust(calibrated=True, uncertainty=True)
    with pytest.raises(GatewiseError, match="not 'topk'"):
        run.predict(run.config.data, route="topk", trust=Trust(calibrated=True))
    (tmp_path / "calibration.json").write_text(json.dumps({"mixture": 0, "top1": 1, "rows": 3}))
    with pytest.raises(GatewiseError, match="is damaged"):
        Calibration.load(tmp_path)
    path = run.folder / "model" / "calibration.json"
    held = path.read_text()
    path.unlink()
    try:
        with pytest.raises(GatewiseError, match="keeps no calibration"):
            Run.load(run.folder).evaluate(run.test_rows(), calibrated=True)
    finally:
        path.write_text(held)
