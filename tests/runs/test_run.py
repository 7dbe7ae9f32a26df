import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from gatewise import GatewiseError
from gatewise.config import load_config
from gatewise.config.objective import build_objective
from gatewise.config.run import choose_device
from gatewise.data import read
from gatewise.models.model import Model
from gatewise.models.predictions import predictions
from gatewise.runs import Run, train
from gatewise.runs.folder import make_folder


def quick(**keys):
    return load_config({"data": "wine", "epochs": 4, "expert_hidden": [8], "gate_hidden": [8], "experts": 3, **keys})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(quick(), tmp_path_factory.mktemp("runs") / "wine")


def test_the_same_seed_gives_the_same_numbers_on_one_thread_and_on_two(run, tmp_path):
    """To the bit on as many threads; on others sums are rounded in another order, where torch splits them."""
    weights = {
        threads: train(quick(threads=threads), tmp_path / str(threads)).model.mixture.state_dict() for threads in (1, 2)
    }
    again = train(quick(threads=2), tmp_path / "again").model.mixture.state_dict()
    for name, value in weights[2].items():
        assert torch.equal(again[name], value), name
        torch.testing.assert_close(weights[1][name], value, rtol=1e-4, atol=1e-5)


def test_the_run_folder(run):
    names = {str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()}
    assert {
        "config.toml",
        "environment.json",
        "metrics.jsonl",
        "summary.json",
        "report.html",
        "model/weights.safetensors",
        "model/model.json",
        "model/preprocessing.skops",
    } <= names
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert {"step", "seconds", "temperature", "train_loss", "validation_nll"} <= lines[0].keys()
    summary = json.loads((run.folder / "summary.json").read_text())
    assert {"config", "data", "best_epoch", "validation", "test", "warnings", "seconds"} <= summary.keys()
    assert summary["data"]["rows"] == 178
    assert summary["data"]["classes"] == ["class_0", "class_1", "class_2"]
    assert summary["data"]["test_rows"] == 36


def test_a_run_loads_and_gives_the_same_figures(run):
    loaded = Run.load(run.folder)
    again = loaded.evaluate(loaded.test_rows()).to_dict()
    expected = {key: value for key, value in run.summary["test"].items() if key in again}
    assert again == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert run.summary["test"].keys() - again.keys() == {"classes", "constant_nll", "constant_accuracy"}
    assert loaded.config == run.config


def test_loading_never_unpickles(run, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("pickle was used")

    monkeypatch.setattr("pickle.Unpickler", refuse)
    monkeypatch.setattr("pickle.load", refuse)
    monkeypatch.setattr("pickle.loads", refuse)
    monkeypatch.setattr("torch.load", refuse)
    Run.load(run.folder)


def test_the_same_seed_gives_the_same_weights_and_leaves_torch_alone(run, tmp_path):
    before = torch.random.get_rng_state()
    again = train(quick(), tmp_path / "again")
    assert torch.equal(torch.random.get_rng_state(), before)
    for a, b in zip(run.model.mixture.parameters(), again.model.mixture.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    "keys",
    [
        {"expert": "linear"},
        {"data": "digits", "expert": "conv", "epochs": 1},
        {"trunk_hidden": [16], "dropout": 0.1},
        {"objective": "marginal"},
        {"objective": "multi-sample", "samples": 3, "accumulate": 2},
        {"objective": "multi-sample", "estimator": "score-function", "baseline": "leave-one-out", "samples": 2},
        {"objective": "stratified", "objective_options": {"top": 2}, "precision": "bfloat16"},
        {"objective": "evidence", "objective_options": {"posterior": "amortised"}, "estimator": "score-function"},
        {"objective": "evidence", "objective_options": {"posterior": "amortised"}, "trunk_hidden": [16]},
        {"objective": "hard-em", "temperature": "linear:1:0.1"},
        {"estimator": "score-function", "baseline": "learned", "samples": 2},
        {"estimator": "gumbel-softmax", "temperature": "cosine:1:0.5"},
        {"regulariser": {"load": 0.1, "importance": 0.1, "z_loss": 0.01}, "accumulate": 2},
        {"experts": 1},
        {"test_size": 0.0},
        {"precision": "bfloat16"},
        {"gate_map": "sparsemax", "gate_temperature": 0.5},
        {"gate_map": "entmax15", "balance_rate": 0.01, "accumulate": 2},
        {"gate_temperature": 2, "trunk_hidden": [16]},
        {"gate_top_k": 2, "balance_rate": 0.01, "accumulate": 2, "precision": "bfloat16"},
        {"data": "digits", "gate": "conv", "gate_hidden": [], "gate_top_k": 2, "epochs": 1},
        {"regulariser": {"dirichlet": 0.01, "prior": 0.1}, "expert_prior": [0.2, 0.3, 0.5]},
    ],
)
def test_kinds_of_runs(tmp_path, keys):
    run = train(quick(**{"epochs": 2, **keys}), tmp_path / "run")
    loaded = Run.load(run.folder)
    rows = read(run.config.data).records
    torch.testing.assert_close(
        loaded.model.mixture.predict_proba(loaded.model.inputs(rows)),
        run.model.mixture.predict_proba(run.model.inputs(rows)),
    )
    assert np.isfinite(run.summary["validation"]["nll"])


def test_predictions(run):
    rows = read("wine").records
    frame = predictions(run.model, rows, batch_size=50)
    assert frame.columns == ["label", "p_class_0", "p_class_1", "p_class_2", "expert"]
    assert len(frame) == 178
    probs = frame.select(pl.col("^p_.*$")).to_numpy()
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-5)
    assert (np.asarray(frame["label"]) == np.asarray(run.model.spec.classes)[probs.argmax(1)]).all()
    assert set(frame["expert"]) <= {0, 1, 2}
    assert len(predictions(run.model, rows.take(np.arange(0)))) == 0
    top1 = predictions(run.model, rows, route="top1")
    assert (top1["expert"] == frame["expert"]).all()


def test_an_interrupted_run_keeps_its_model(tmp_path):
    run = train(quick(), tmp_path / "run", should_stop=lambda: True)
    assert run.summary["interrupted"]
    assert Run.load(run.folder).evaluate(run.test_rows()).rows == 36


def test_a_folder_in_use_is_left_alone(run):
    before = (run.folder / "summary.json").read_text()
    with pytest.raises(GatewiseError, match="is there already"):
        train(quick(), run.folder)
    assert (run.folder / "summary.json").read_text() == before


def test_bad_data_leave_nothing_behind(tmp_path):
    with pytest.raises(GatewiseError):
        train(quick(data="nowhere.csv"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_changed_data_are_not_evaluated_by_guess(tmp_path):
    wine = read("wine").records
    table = wine.features.with_columns(pl.Series("kind", wine.labels.tolist()))
    table.write_csv(tmp_path / "wine.csv")
    run = train(quick(data=str(tmp_path / "wine.csv"), target="kind"), tmp_path / "run")
    table.head(100).write_csv(tmp_path / "wine.csv")
    with pytest.raises(GatewiseError, match="has changed since"):
        run.test_rows()


def test_a_changed_test_file_or_seed_is_not_evaluated_by_guess(tmp_path):
    wine = read("wine").records
    table = wine.features.with_columns(pl.Series("kind", wine.labels.tolist()))
    table.head(140).write_csv(tmp_path / "train.csv")
    table.write_csv(tmp_path / "test.csv")
    files = {"data": str(tmp_path / "train.csv"), "target": "kind"}
    run = train(quick(**files, test=str(tmp_path / "test.csv")), tmp_path / "run")
    assert run.test_rows().hash() == run.summary["data"]["test_hash"]
    table.head(150).write_csv(tmp_path / "test.csv")
    with pytest.raises(GatewiseError, match=r"test\.csv.* has changed since"):
        run.test_rows()
    split_off = train(quick(), tmp_path / "split")
    text = (tmp_path / "split/config.toml").read_text()
    (tmp_path / "split/config.toml").write_text(text.replace("seed = 0", "seed = 1"))
    with pytest.raises(GatewiseError, match=r"config\.toml and .*summary\.json are not of one run: seed is 1 in one"):
        Run.load(split_off.folder)


def test_a_file_with_its_own_test_rows_is_evaluated_on_them(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(90, 4)), np.arange(90) % 3
    np.savez(tmp_path / "two.npz", x_train=x, y_train=y, x_test=x[:30], y_test=y[:30])
    run = train(quick(data=str(tmp_path / "two.npz")), tmp_path / "run")
    assert len(run.read(str(tmp_path / "two.npz"), require_target=True)) == 30


def test_a_run_is_evaluated_from_any_folder(tmp_path, monkeypatch):
    wine = read("wine").records
    wine.features.with_columns(pl.Series("kind", wine.labels.tolist())).write_csv(tmp_path / "wine.csv")
    monkeypatch.chdir(tmp_path)
    train(quick(data="wine.csv", target="kind"), "run")
    monkeypatch.chdir("/")
    assert len(Run.load(tmp_path / "run").test_rows()) == 36


def test_a_run_that_fails_at_once_can_be_tried_again(tmp_path):
    bad = quick(estimator="score-function", baseline="learned", estimator_options={"context_dim": 99})
    with pytest.raises(GatewiseError, match="context of 99 features"):
        train(bad, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_two_runs_never_share_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [make_folder(None, "a/b.csv").name for _ in range(3)] == ["b-1", "b-2", "b-3"]
    with pytest.raises(GatewiseError, match="cannot make the run folder"):
        make_folder("x" * 300, "b.csv")


def test_threads_are_left_as_they_were(tmp_path):
    before = torch.get_num_threads()
    train(quick(threads=before + 1), tmp_path / "run")
    assert torch.get_num_threads() == before


def test_a_run_without_test_rows(tmp_path):
    run = train(quick(test_size=0.0), tmp_path / "run")
    assert run.summary["test"] is None
    with pytest.raises(GatewiseError, match="kept no test rows"):
        run.test_rows()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "summary.json").unlink(), "summary.json is missing"),
        (lambda folder: (folder / "summary.json").write_text("{"), "is not JSON"),
        (lambda folder: (folder / "config.toml").write_text("="), "is not TOML"),
        (lambda folder: (folder / "model/model.json").write_text('{"format": 2}'), "does not describe a model"),
        (lambda folder: _edit(folder / "model/model.json", dropout=5), "does not describe a model"),
        *(
            (lambda folder, key=key, value=value: _edit(folder / "model/model.json", **{key: value}), f"model: {key}")
            for key, value in {
                "gate_top_k": True,
                "gate_temperature": True,
                "input_shape": [True],
                "expert_hidden": [True],
            }.items()
        ),
        (lambda folder: (folder / "model/preprocessing.json").unlink(), "preprocessing.json is missing; restore"),
        (lambda folder: _edit(folder / "model/model.json", expert_hidden=[-1]), "does not describe a model"),
        (lambda folder: (folder / "model/weights.safetensors").write_bytes(b"x" * 100), "not a safetensors file"),
        (lambda folder: (folder / "model/weights.safetensors").unlink(), "weights.safetensors is missing"),
        (lambda folder: (folder / "model/preprocessing.json").unlink(), "preprocessing.json"),
        (lambda folder: _edit(folder / "model/model.json", experts=4), "does not fit model.json"),
    ],
)
def test_a_damaged_run_is_refused_in_one_line(run, tmp_path, damage, said):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    damage(copy)
    with pytest.raises(GatewiseError) as error:
        Run.load(copy)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def _edit(path: Path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_no_such_run(tmp_path):
    with pytest.raises(GatewiseError, match="there is no run folder"):
        Run.load(tmp_path / "none")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"objective": "jenson"}, "unknown objective 'jenson'; did you mean 'jensen'"),
        ({"estimator": "gumbel"}, "unknown estimator 'gumbel'"),
        (
            {"objective": "marginal", "estimator": "score-function"},
            "marginal objective is exact and takes no estimator",
        ),
        ({"objective": "marginal", "temperature": 0.5}, "takes no temperature"),
        ({"estimator": "score-function", "temperature": 0.5}, "has no option 'temperature'"),
        ({"estimator": "score-function", "baseline": "leave-one-out"}, "takes a number of samples from 2, got 1"),
        ({"estimator": "score-function", "baseline": "best"}, "unknown baseline 'best'"),
        ({"estimator": "gumbel-softmax", "temperature": "linear:1:0"}, "temperature must be positive"),
        ({"estimator": "gumbel-softmax", "temperature": "step:1:0:1"}, "temperature must be positive"),
        ({"objective": "marginal", "samples": 5}, "takes no samples"),
        ({"objective": "marginal", "temperature": 1}, "takes no temperature"),
        ({"objective": "hard-em", "estimator": "reinmax"}, "hard-em objective is exact and takes no estimator"),
        ({"objective": "hard-em", "temperature": "linear:1:0"}, "'hard-em': the temperature must be positive"),
        ({"objective": "stratified", "estimator": "reinmax"}, "such as multi-sample"),
        ({"objective": "stratified", "temperature": 0.5}, "takes no temperature"),
        ({"objective": "stratified", "objective_options": {"topp": 2}}, "has no option 'topp'; it takes top, num_samp"),
        ({"objective": "stratified", "objective_options": {"top": 0}}, "top must be a whole number of at least 1, got"),
        ({"objective": "stratified", "objective_options": {"num_samples": 2}}, "give the key samples"),
        ({"objective": "evidence", "estimator": "score-function"}, "choose posterior = 'amortised'"),
        ({"objective": "evidence", "samples": 2}, "takes no samples"),
        ({"objective": "evidence", "objective_options": {"posterior": "exakt"}}, "unknown posterior 'exakt'"),
        ({"objective": "evidence", "objective_options": {"context_dim": 3}}, "model and data tell it"),
        ({"objective": "multi-sample", "estimator": "vimco", "samples": 1}, "use 'score-function'"),
        ({"objective": "multi-sample", "estimator": "enumeration", "samples": 9}, "use vimco, or fewer samples"),
        ({"objective": "multi-sample", "estimator": "vimco", "baseline": "learned"}, "has no option 'baseline'"),
        ({"objective": "multi-sample", "estimator_options": {"mean": "middle"}}, "unknown mean 'middle'"),
        (
            {"objective": "multi-sample", "objective_options": {"repeats": "x"}},
            "takes a number of samples from 1, got x",
        ),
        ({"estimator": "vimco"}, "serves the objective multi-sample alone; for jensen use score-function"),
        ({"objective": "jensen", "objective_options": {"top": 2}}, "has no option 'top'"),
        ({"estimator": "score-function", "estimator_options": {"decay": "x"}}, "must be a number in [0, 1), got 'x'"),
        ({"estimator": "score-function", "estimator_options": {"baseline": ["x"]}}, "unknown baseline ['x']"),
        ({"estimator": "score-function", "estimator_options": {"sale": 1}}, "has no option 'sale'"),
    ],
)
def test_combinations_that_cannot_work(keys, said):
    with pytest.raises(GatewiseError) as error:
        build_objective(quick(**keys), features=13).set_progress(1.0)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("keys", "facts"),
    [
        ({"objective": "multi-sample"}, ("vimco", 2)),
        ({"objective": "multi-sample", "samples": 3}, ("vimco", 3)),
        ({"objective": "multi-sample", "samples": 1}, ("enumeration", 4)),
        ({"objective": "multi-sample", "samples": 2, "estimator": "score-function"}, ("score-function", 2)),
        ({"objective": "multi-sample", "estimator_options": {"mean": "arithmetic"}}, ("vimco", 2)),
        (
            {"objective": "multi-sample", "estimator": "score-function", "objective_options": {"repeats": 2}},
            ("score-function", 4),
        ),
        ({"objective": "stratified"}, (None, 2)),
        ({"objective": "stratified", "samples": 2, "objective_options": {"top": 1}}, (None, 3)),
        ({"objective": "evidence"}, (None, 4)),
        ({"objective": "evidence", "objective_options": {"posterior": "amortised"}}, ("enumeration", 4)),
        (
            {"objective": "evidence", "objective_options": {"posterior": "amortised"}, "estimator": "reinmax"},
            ("reinmax", 4),
        ),
        ({"objective": "hard-em", "temperature": "linear:1:0.1"}, (None, 4)),
        ({"objective": "marginal", "estimator": "enumeration", "samples": 1}, (None, 4)),
        ({}, ("enumeration", 4)),
    ],
)
def test_what_a_configuration_makes(keys, facts):
    objective = build_objective(quick(**{"experts": 4, **keys}), features=13)
    name = next((estimator.name for estimator in objective.estimators()), None)
    assert (name, objective.evaluations(4)) == facts
    objective.set_progress(1.0)
    if keys.get("temperature"):
        assert objective.temperature == pytest.approx(0.1)


def test_checking_a_configuration_leaves_the_random_state_alone(tmp_path):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    keys = {"objective": "evidence", "objective_options": {"posterior": "amortised"}, "data": "nowhere.csv"}
    with pytest.raises(GatewiseError, match=r"nowhere\.csv"):
        train(quick(**keys), tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["gpu", "cpu:", "cpu:3", "cuda:x", "", "cuda:\u00b2"])
def test_devices_that_are_none(name):
    with pytest.raises(GatewiseError, match="unknown device"):
        choose_device(name)


def test_devices():
    assert choose_device("cpu").type == "cpu"
    if not torch.cuda.is_available():
        with pytest.raises(GatewiseError, match="not there"):
            choose_device("cuda")


def test_a_model_that_cannot_be_built(tmp_path):
    with pytest.raises(GatewiseError, match=r"needs images .* got rows of shape \[13\]"):
        train(quick(expert="conv"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_weights_are_written_whole_or_not_at_all(run, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    run.model.save(folder)
    before = (folder / "weights.safetensors").read_bytes()

    def fail(weights, path):
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("gatewise.models.model.save_file", fail)
    with pytest.raises(GatewiseError, match="disk full"):
        run.model.save(folder)
    assert (folder / "weights.safetensors").read_bytes() == before
    assert Model.load(folder).spec == run.model.spec
