"""Exported files: they answer as the model does, say what they are, and are not written where they would not."""

import json

import pytest
import torch
from torch import nn

import gatewise as gw
from gatewise.data import Records, fit_preprocessing
from gatewise.models import export as module
from gatewise.models.export import export
from gatewise.models.model import Model
from gatewise.models.spec import ModelSpec
from tests.chance import seeded

SHAPE, CLASSES = (2, 3), ("cat", "dog", "eel")


def model_of(gate_scale=3.0):
    torch.manual_seed(0)
    spec = ModelSpec(
        input_shape=list(SHAPE),
        classes=list(CLASSES),
        experts=4,
        expert="mlp",
        expert_hidden=[5],
        gate_hidden=[],
        trunk_hidden=[4],
        dropout=0.1,
    )
    mixture = spec.build().eval()
    with torch.no_grad():
        for parameter in mixture.gate.parameters():
            parameter.mul_(gate_scale)
    rows = torch.randn(20, *SHAPE, generator=seeded(1)).numpy()
    return Model(mixture, spec, fit_preprocessing(Records(rows, None, "rows")))


def rows(number):
    return torch.randn(number, *SHAPE, generator=seeded(5))


@pytest.mark.parametrize("route", ["mixture", "top1"])
def test_a_pt2_file_answers_as_the_model(tmp_path, route):
    model = model_of()
    done = export(model, tmp_path / "m.pt2", "pt2", route)
    extra = {"gatewise.json": ""}
    program = torch.export.load(tmp_path / "m.pt2", extra_files=extra).module()
    for number in (1, 2, 50):
        answer = program(rows(number))
        torch.testing.assert_close(answer, model.mixture.predict_proba(rows(number), route=route))
        assert not answer.requires_grad
    assert json.loads(extra["gatewise.json"]) == done.metadata
    assert done.metadata["classes"] == list(CLASSES)
    assert done.metadata["input"] == {"name": "x", "dtype": "float32", "shape": ["batch", *SHAPE]}
    assert (done.metadata["route"], done.metadata["experts_run"]) == (route, 4)
    assert 0 < done.rows <= module.ROWS
    assert all(parameter.requires_grad for parameter in model.mixture.parameters())


def test_an_onnx_file_answers_as_the_model(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = model_of()
    done = export(model, tmp_path / "m.onnx", "onnx", "top1")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    for number in (1, 2, 50):
        (answer,) = session.run(["probabilities"], {"x": rows(number).numpy()})
        torch.testing.assert_close(torch.from_numpy(answer), model.mixture.predict_proba(rows(number), route="top1"))
    assert json.loads(session.get_modelmeta().custom_metadata_map["gatewise"]) == done.metadata
    assert session.get_inputs()[0].shape == ["batch", *SHAPE]


def test_the_preprocessing_in_the_metadata_is_that_of_the_run():
    model = model_of()
    said = module.describe(model, "pt2", "mixture")["preprocessing"]
    x = rows(6)
    x[0] = 1e6  # far outside
    low, high, room, mean, scale = (torch.tensor(said[name]) for name in ("low", "high", "room", "mean", "scale"))
    near = x.clamp(low, high)
    beyond = x - near
    squashed = near + room * beyond / (room + beyond.abs())
    torch.testing.assert_close((squashed - mean) / scale, model.inputs(Records(x.numpy(), None, "raw")))


def test_a_gate_without_a_preference_is_no_difference(tmp_path):
    done = export(model_of(gate_scale=0.0), tmp_path / "m.pt2", "pt2", "top1")
    assert done.difference < module.TOLERANCE


@pytest.mark.parametrize("wrong", [lambda answer: answer + 0.01, lambda answer: answer * torch.nan])
def test_a_file_that_answers_otherwise_is_not_written(tmp_path, monkeypatch, wrong):
    def spoilt(program, metadata):
        return b"bytes", lambda x: wrong(program.module()(x))

    monkeypatch.setitem(module.FORMATS, "pt2", spoilt)
    with pytest.raises(gw.GatewiseError, match="answers otherwise than the model"):
        export(model_of(), tmp_path / "m.pt2")
    assert list(tmp_path.iterdir()) == []


def test_top1_is_compared_where_rounding_cannot_choose_another_expert():
    model = model_of()
    gate = nn.Linear(4, 4)
    with torch.no_grad():  # two experts nearly level: noise below CLEAR decides between them
        gate.weight.zero_()
        gate.bias.copy_(torch.tensor([1.0, 1.0 + module.CLEAR / 2, 0.0, 0.0]))
        gate.weight[0, 0] = 1e-2
    model.mixture.gate = gate
    with torch.no_grad():
        highest = model.mixture.read(module.probe(model))[1].topk(2).values
    clear = (highest[:, 0] - highest[:, 1] > module.CLEAR).sum()
    assert 0 < clear < module.ROWS
    assert module.compare(model, module.Predictor(model.mixture, "top1"), "top1")[0] == clear


def test_a_missing_package_is_named_with_the_command(tmp_path, monkeypatch):
    find = module.importlib.util.find_spec
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    with pytest.raises(gw.GatewiseError, match="needs onnxscript; run: pip install onnx onnxscript onnxruntime"):
        export(model_of(), tmp_path / "m.onnx", "onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_onnx_cannot_hold_is_refused_in_one_line(tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")

    def fail(*_, **__):
        raise torch.onnx.OnnxExporterError("no operator\nfor this")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(gw.GatewiseError, match="cannot be written as onnx: no operator for this; take --format pt2"):
        export(model_of(), tmp_path / "m.onnx", "onnx")
