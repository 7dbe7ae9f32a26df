"""Event files, read back by TensorBoard itself."""

import json
import sys

import pytest

from gatewise import GatewiseError
from gatewise.config import load_config
from gatewise.runs import resume, train
from gatewise.training import TensorBoard
from gatewise.training.callbacks import curve

QUICK = {"data": "iris", "epochs": 6, "experts": 2, "expert_hidden": [8], "tensorboard": True}
LINE = {"epoch": 1, "step": 7, "seconds": 0.5, "temperature": None, "train_loss": 1.25, "validation_nll": 0.75}


def read(folder):
    """Curves as {name: [(step, value), …]}, and texts as {name: [text, …]}."""
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0})
    events.Reload()
    scalars = {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}
    texts = {
        name.removesuffix("/text_summary"): [e.tensor_proto.string_val[0].decode() for e in events.Tensors(name)]
        for name in events.Tags()["tensors"]
    }
    return scalars, texts


def check(run):
    """What the event files hold is what metrics.jsonl holds."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    scalars, texts = read(run / "tensorboard")
    for name in ("train_loss", "validation_nll", "validation_accuracy", "epoch"):
        expected = [(line["step"], pytest.approx(line[name], rel=1e-6)) for line in lines]  # kept in float32
        assert scalars[curve(name)] == expected
    numbers = {name for line in lines for name, value in line.items() if isinstance(value, int | float)}
    assert set(scalars) == {curve(name) for name in numbers - {"step"}}
    assert "data = " in texts["config"][0]
    return scalars


def test_a_run_has_its_metrics_as_curves(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    run = train(load_config(QUICK), tmp_path / "run")
    scalars = check(run.folder)
    assert len(scalars["train/loss"]) == 6


def test_a_training_that_went_on_has_one_curve(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    asked = iter(range(10_000))
    train(load_config(QUICK), tmp_path / "run", should_stop=lambda: next(asked) > 6)
    resume(tmp_path / "run")
    check(tmp_path / "run")
    assert len(list((tmp_path / "run/tensorboard").iterdir())) == 1


def test_as_a_callback(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    board = TensorBoard(tmp_path)
    board.on_start(1, 7)
    board.on_epoch(LINE)
    board.on_warning("the gate has collapsed")
    board.on_end()
    scalars, texts = read(tmp_path)
    assert scalars == {
        "epoch": [(7, 1.0)],
        "seconds": [(7, 0.5)],
        "train/loss": [(7, 1.25)],
        "validation/nll": [(7, 0.75)],
    }
    assert texts == {"warnings": ["the gate has collapsed"]}


def test_without_the_package_it_is_refused_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(GatewiseError, match="pip install tensorboard"):
        train(load_config(QUICK), tmp_path / "run")
    assert not (tmp_path / "run").exists()
