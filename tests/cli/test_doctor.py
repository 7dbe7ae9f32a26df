"""`gatewise doctor` says what is there, and what brings what is not."""

import tomllib
from pathlib import Path

import pytest
import torch

import gatewise as gw
from gatewise.cli import machine

WANTED = [
    "torch>=2.10",
    "numpy>=999; python_version > '3'",
    "no-such-package>=1",
    'tensorboard>=2; extra == "tensorboard"',
    'no-such-exporter>=1.2; extra == "onnx"',
    'no-such-runtime; extra == "onnx"',
    'no-such-linter; extra == "lint"',
]


@pytest.fixture
def wanting(monkeypatch):
    monkeypatch.setattr(machine, "requires", lambda name: WANTED)


def test_versions_devices_and_threads(gatewise):
    found = gatewise("doctor", "--json").json
    assert found["gatewise"] == gw.__version__
    assert found["processor"]["threads"] == torch.get_num_threads()
    assert found["devices"][0]["device"] == "cpu"
    installed = {package["name"]: package["installed"] for package in found["packages"]}
    assert installed["torch"] == torch.__version__
    said = gatewise("doctor")
    assert said.status == 0
    assert all(text in said.out for text in (gw.__version__, torch.__version__, "threads", "device", "cpu"))


def test_what_is_missing_comes_with_the_line_that_brings_it(gatewise, wanting):
    found = gatewise("doctor", "--json").json
    names = [package["name"] for package in found["packages"]]
    assert names[:3] == ["torch", "numpy", "no-such-package"]
    assert "no-such-linter" not in names
    assert found["missing"] == {
        "gatewise export --format onnx": "pip install 'no-such-exporter>=1.2' no-such-runtime"
    } | ({} if "tensorboard" in _there(found) else {"--set tensorboard=true": "pip install 'tensorboard>=2'"})
    assert any(p.startswith("no-such-package is missing: pip install 'no-such-package>=1'") for p in found["problems"])
    assert any("numpy" in p and "pip install 'numpy>=999'" in p for p in found["problems"])
    said = gatewise("doctor")
    assert said.status == 0
    assert "for gatewise export --format onnx: pip install 'no-such-exporter>=1.2' no-such-runtime" in said.out
    assert "Nothing is missing" not in said.out


def _there(found):
    return [package["name"] for package in found["packages"] if package["installed"]]


def test_nothing_is_missing_where_all_is_there(gatewise, monkeypatch):
    monkeypatch.setattr(machine, "requires", lambda name: ["torch>=2.10"])
    monkeypatch.setattr(machine, "cores", lambda: 64)
    assert "Nothing is missing." in gatewise("doctor").out


def test_more_threads_than_cores_are_named():
    fine = machine.Package("torch", ">=2", "2.10", True, None)
    assert machine.problems([fine], threads=machine.cores()) == []
    (said,) = machine.problems([fine], threads=machine.cores() + 1)
    assert f"set OMP_NUM_THREADS={machine.cores()}" in said


def test_gatewise_that_is_not_installed(gatewise, monkeypatch):
    def none(name):
        raise machine.PackageNotFoundError(name)

    monkeypatch.setattr(machine, "requires", none)
    done = gatewise("doctor")
    assert done.status == 0
    assert "gatewise is not installed" in done.out


def test_every_extra_is_for_a_user_or_for_us():
    path = Path(__file__).parents[2] / "pyproject.toml"
    extras = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(extras) == set(machine.USES) | {"docs", "examples", "lint", "test"}
