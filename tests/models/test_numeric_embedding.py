"""Embedded numbers: their formula, and a run that keeps them through training, loading, streaming and export."""

import json

import numpy as np
import polars as pl
import pytest
import torch

from gatewise import GatewiseError
from gatewise.config import load_config
from gatewise.models.export import export
from gatewise.models.numeric_embedding import NumericEmbedding, quantile_bins
from gatewise.models.predictions import predictions
from gatewise.runs import Run, train
from gatewise.sklearn import MixtureOfExpertsClassifier

pytest.importorskip("rtdl_num_embeddings")


def test_bins_have_equally_many_rows_and_a_constant_has_one():
    x = torch.stack([torch.arange(101.0), torch.full((101,), 3.0), torch.arange(101.0) // 100], 1)
    first, constant, rare = quantile_bins(x, 4)
    assert first.tolist() == [0, 25, 50, 75, 100]
    assert constant.tolist() == [3, 4]
    assert rare.tolist() == [0, 1]


def test_a_row_is_embedded_by_the_formula():
    edges = torch.tensor([0.0, 1.0, 3.0])
    embedding = NumericEmbedding("piecewise-linear", 1, 2, [edges])
    torch.nn.init.normal_(embedding.embedding.linear.weight)
    x = torch.tensor([[-1.0, 9.0], [0.5, 8.0], [2.0, 7.0], [5.0, 6.0]])
    encoded = torch.tensor([[-1.0, 0.0], [0.5, 0.0], [1.0, 0.5], [1.0, 2.0]])
    linear = embedding.embedding.linear0
    expected = linear.bias + linear.weight * x[:, :1] + encoded @ embedding.embedding.linear.weight[0]
    torch.testing.assert_close(embedding(x), torch.cat([expected, x[:, 1:]], 1))


@pytest.fixture
def data(tmp_path):
    draw = np.random.default_rng(0)
    x = draw.uniform(-3, 3, 240)
    y = np.where(np.sin(3 * x) > 0, "up", "down")
    pl.DataFrame({"kind": ["a", "b"] * 120, "x": x, "gap": [None, 1.0, 2.0] * 80, "y": y}).write_csv(tmp_path / "d.csv")
    return str(tmp_path / "d.csv")


def keys(data, kind, **others):
    small = {"epochs": 3, "experts": 2, "expert_hidden": [8], "numeric_width": 3, "numeric_bins": 6}
    return load_config({"data": data, "target": "y", "numeric_embedding": kind, **small, **others})


@pytest.mark.parametrize(("kind", "trunk"), [("piecewise-linear", []), ("periodic", [5])])
def test_a_run_keeps_its_embedding(data, tmp_path, kind, trunk):
    run = train(keys(data, kind, trunk_hidden=trunk), tmp_path / "run")
    assert run.model.spec.numbers == 2
    loaded = Run.load(tmp_path / "run")
    rows = run.read(data, require_target=False)
    whole = predictions(run.model, rows)
    assert predictions(loaded.model, rows).equals(whole)
    assert loaded.predict(data).frame().equals(whole)
    before = run.model.mixture.trunk.state_dict()
    assert all(torch.equal(before[name], value) for name, value in loaded.model.mixture.trunk.state_dict().items())
    assert export(loaded.model, tmp_path / "m.pt2").difference < 1e-5
    description = json.loads((tmp_path / "run/model/model.json").read_text())
    (tmp_path / "run/model/model.json").write_text(json.dumps(description | {"bin_counts": [3]}))
    with pytest.raises(GatewiseError, match=r"model\.json does not describe a model: bin_counts: "):
        Run.load(tmp_path / "run")
    (tmp_path / "run/model/model.json").write_text(json.dumps(description))
    further = train(load_config({"data": data, "start_from": str(tmp_path / "run"), "epochs": 1}), tmp_path / "more")
    assert further.model.spec.bin_counts == run.model.spec.bin_counts


@pytest.mark.parametrize(
    ("kind", "route", "format"),
    [("piecewise-linear", "mixture", "onnx"), ("piecewise-linear", "top1", "pt2"), ("periodic", "top1", "onnx")],
)
def test_an_exported_run_answers_as_predict_does(data, tmp_path, kind, route, format):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    frame = pl.read_csv(data)
    frame.with_columns(pl.Series("flag", [0, 1, 1] * 80)).write_csv(tmp_path / "flag.csv")  # a number with one bin
    run = train(keys(str(tmp_path / "flag.csv"), kind, numeric_frequency=0.5), tmp_path / "run")
    x = run.model.inputs(run.read(str(tmp_path / "flag.csv"), require_target=False))
    wanted = run.predict(str(tmp_path / "flag.csv"), route=route).frame().select("p_down", "p_up").to_numpy()
    export(run.model, path := tmp_path / f"model.{format}", format, route)
    if format == "pt2":
        found = torch.export.load(path).module()(x).detach().numpy()
    else:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {"x": x.numpy()})
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_first_frequencies_are_as_wide_as_asked_for():
    for frequency in (0.05, 2.0):
        weight = NumericEmbedding("periodic", 40, 4, frequency=frequency).embedding.periodic.weight
        # 1920 draws: the standard deviation is known to 2 %, and is 1 % less than asked for, as the tails are cut
        assert weight.std().item() == pytest.approx(frequency, rel=0.1)


def test_the_estimators_of_scikit_learn_take_it():
    x = np.random.default_rng(0).uniform(-3, 3, (300, 1))
    y = (np.sin(4 * x[:, 0]) > 0).astype(int)
    found = {}
    for kind in ("none", "piecewise-linear"):
        settings = {"numeric_embedding": kind, "numeric_width": 8, "numeric_bins": 24}
        model = MixtureOfExpertsClassifier(
            n_experts=1, epochs=60, expert="linear", lr=0.02, random_state=0, early_stopping=False, settings=settings
        )
        found[kind] = model.fit(x, y).score(x, y)
    assert found["piecewise-linear"] > 0.9 > 0.75 > found["none"]  # one line cannot follow eight changes of sign


def test_what_has_no_numbers_is_refused(data, tmp_path):
    with pytest.raises(GatewiseError, match="no column of numbers to embed"):
        train(keys(data, "periodic", drop=["x", "gap"]), tmp_path / "run")
    with pytest.raises(GatewiseError, match="not for images"):
        train(keys("digits", "periodic", target=None, expert="conv"), tmp_path / "run")
