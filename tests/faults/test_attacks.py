"""A run folder from a stranger: whatever file is an attack, commands refuse it in one line and run none of it."""

import hashlib
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from gatewise.cli import main
from tests.cli.test_bad_input import TABLE, refused

MODEL = ("weights.safetensors", "model.json", "preprocessing.json", "preprocessing.skops", "calibration.json")
FILES = ("config.toml", "summary.json", *(f"model/{name}" for name in MODEL))
STEP = ("tensors.safetensors", "state.json", "manifest.json")
COMMANDS = (["evaluate", "run"], ["predict", "run", "good.csv"], ["export", "run"])


class Bomb:
    """Makes a file named `exploded` where it is unpickled."""

    def __reduce__(self):
        return (open, ("exploded", "w"))


def a_pickle(path):
    path.write_bytes(pickle.dumps(Bomb()))


def a_torch_file(path):
    torch.save(Bomb(), path)


def deep(path):
    path.write_text("a = " + "[" * 100_000 if path.suffix == ".toml" else "[" * 100_000)


def a_header_of_terabytes(path):
    path.write_bytes((80 * 2**40).to_bytes(8, "little") + b"{}")


def a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def a_link_out(path):
    outside = Path.cwd() / f"outside-{path.name}"
    shutil.move(path, outside)
    path.symlink_to(outside)


def too_large(path):
    with path.open("r+b") as file:
        file.truncate(2**31)  # a hole: it takes no disk


ATTACKS = [a_pickle, a_torch_file, deep, a_header_of_terabytes, a_pipe, a_link_out, too_large]


def trained(folder, *more):
    (folder / "good.csv").write_text(TABLE)
    quick = ["--epochs", "2", "--experts", "2", "--set", "expert_hidden=[4]", *more]
    with pytest.raises(SystemExit) as stopped:
        main(["train", str(folder / "good.csv"), "--target", "y", "--out", str(folder / "run"), *quick])
    assert stopped.value.code in (None, 0)


def copied(folder, tmp_path, monkeypatch):
    """A copy of the folder, two folders down, to work in; returns the run in it."""
    place = tmp_path / "a"
    shutil.copytree(folder, place)
    monkeypatch.chdir(place)
    return place / "run"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    trained(folder)
    return folder


@pytest.fixture
def run(whole, tmp_path, monkeypatch):
    return copied(whole, tmp_path, monkeypatch)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
@pytest.mark.parametrize("name", FILES)
def test_every_file_of_a_run(gatewise, run, name, attack):
    """All commands open a run by the same door: each attack is met by one of them, all files by all."""
    attack(run / name)
    turn = FILES.index(name) + ATTACKS.index(attack)
    refused(gatewise(*COMMANDS[turn % len(COMMANDS)]), [])
    assert not os.path.exists("exploded")
    assert not list(run.glob("*.pt2"))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
@pytest.mark.parametrize("name", ["summary.json", "metrics.jsonl", "environment.json"])
def test_every_file_that_the_report_reads(gatewise, run, name, attack):
    attack(run / name)
    refused(gatewise("report", "run"), [])
    assert not os.path.exists("exploded")


def changed(path, **keys):
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def test_a_model_larger_than_its_weights_takes_no_memory(gatewise, run):
    changed(run / "model/model.json", experts=65536, expert_hidden=[2**20, 2**20])
    for words in COMMANDS:
        refused(gatewise(*words), ["does not fit model.json"])


def test_a_zip_bomb_for_the_preprocessing(gatewise, run):
    with zipfile.ZipFile(run / "model/preprocessing.skops", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * (300 * 2**20))
    refused(gatewise("predict", "run", "good.csv"), ["unpacks to more than 256 MiB"])


@pytest.mark.parametrize(("module", "name"), [("os", "system"), ("builtins", "eval"), ("sklearn.svm._classes", "SVC")])
def test_a_foreign_class_in_the_preprocessing(gatewise, run, module, name):
    path = run / "model/preprocessing.skops"
    with zipfile.ZipFile(path) as archive:
        kept = {each: archive.read(each) for each in archive.namelist()}
    schema = kept["schema.json"].decode()
    assert '"StandardScaler"' in schema
    foreign = schema.replace('"StandardScaler"', f'"{name}"').replace('"sklearn.preprocessing._data"', f'"{module}"')
    with zipfile.ZipFile(path, "w") as archive:
        for each, content in (kept | {"schema.json": foreign.encode()}).items():
            archive.writestr(each, content)
    refused(gatewise("predict", "run", "good.csv"), ["preprocessing"])


def test_a_zip_bomb_for_data(gatewise, run):
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**7, 10**6)}
    with zipfile.ZipFile("bomb.npz", "w") as archive, archive.open("x.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, header)
    refused(gatewise("predict", "run", "bomb.npz"), ["the limit is 16 GiB"])


def test_weights_that_are_no_numbers(gatewise, run):
    from safetensors.torch import load_file, save_file

    path = run / "model/weights.safetensors"
    weights = load_file(path)
    next(iter(weights.values())).fill_(torch.nan)
    save_file(weights, path)
    refused(gatewise("predict", "run", "good.csv"), ["not finite"])


# A training to go on with


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    from gatewise.config import RunConfig
    from gatewise.runs import train

    folder = tmp_path_factory.mktemp("begun")
    (folder / "good.csv").write_text(TABLE)
    keys = {"data": str(folder / "good.csv"), "target": "y", "experts": 2, "epochs": 3, "expert_hidden": [4]}
    steps = iter(range(100))
    train(RunConfig(**keys, batch_size=16), folder / "run", should_stop=lambda: next(steps) == 4)
    return folder


@pytest.fixture
def interrupted(begun, tmp_path, monkeypatch):
    return copied(begun, tmp_path, monkeypatch)


def one_checkpoint(run):
    (path,) = (run / "checkpoints").iterdir()
    return path


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
@pytest.mark.parametrize("name", ["config.toml", "summary.json", "environment.json"])
def test_every_file_that_resume_reads(gatewise, interrupted, name, attack):
    attack(interrupted / name)
    refused(gatewise("train", "--resume", "run"), [])
    assert not os.path.exists("exploded")


@pytest.mark.parametrize("attack", [a_torch_file, deep, a_pipe, a_link_out], ids=lambda attack: attack.__name__)
@pytest.mark.parametrize("name", STEP)
def test_a_checkpoint_that_is_an_attack_is_not_used(gatewise, interrupted, name, attack):
    path = one_checkpoint(interrupted) / name
    attack(path)
    done = gatewise("train", "--resume", "run")
    if attack is a_link_out:
        refused(done, ["a symbolic link out of the run folder"])
    else:
        assert done.status == 0
        assert "training begins again" in done.err
    assert not os.path.exists("exploded")


def rewritten(path, **changes):
    """The state with other values, and a manifest that fits it."""
    changed(path / "state.json", **changes)
    digest = hashlib.sha256((path / "state.json").read_bytes()).hexdigest()
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["sha256"]["state.json"] = digest
    (path / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "changes",
    [
        {"history": [{}] * 3},
        {"history": 3},
        {"best_epoch": 9},
        {"epoch": 99},
        {"epoch": "1"},
        {"dead_for": [0] * 9},
        {"lasted": {"x": 1}},
        {"rows": None},
    ],
    ids=str,
)
def test_a_state_that_fits_its_manifest_and_nothing_else(gatewise, interrupted, changes):
    rewritten(one_checkpoint(interrupted), **changes)
    refused(gatewise("train", "--resume", "run"), ["the checkpoint of step"])


def test_a_manifest_that_names_a_file_outside(gatewise, interrupted):
    path = one_checkpoint(interrupted) / "manifest.json"
    path.write_text(path.read_text().replace('"state.json"', '"../../state.json"'))
    assert "state.json is not what the manifest says" in gatewise("train", "--resume", "run").err


@pytest.mark.parametrize("name", [".lock", "audits.jsonl", "checkpoints"])
def test_nothing_is_written_through_a_link(gatewise, interrupted, name):
    outside = interrupted.parents[1] / "mine"
    outside.write_text("mine")
    shutil.rmtree(interrupted / name, ignore_errors=True)
    (interrupted / name).unlink(missing_ok=True)
    (interrupted / name).symlink_to(outside)
    refused(gatewise("train", "--resume", "run"), ["a symbolic link out of the run folder"])
    assert outside.read_text() == "mine"
