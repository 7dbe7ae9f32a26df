"""`gatewise config`, and what `gatewise train --config` makes of it."""

import tomllib

import pytest

from gatewise.config import RunConfig


def test_the_file_that_it_prints_trains_as_the_defaults_do(gatewise, tmp_path):
    printed = gatewise("config")
    assert printed.status == 0
    (tmp_path / "run.toml").write_text(printed.out)
    quick = ["iris", "--epochs", "1", "--json"]
    by_file = gatewise("train", *quick, "--config", tmp_path / "run.toml", "--out", tmp_path / "a")
    bare = gatewise("train", *quick, "--out", tmp_path / "b")
    assert by_file.json["config"] == bare.json["config"]
    assert by_file.json["test"] == bare.json["test"]


def test_some_keys(gatewise):
    assert tomllib.loads(gatewise("config", "clip", "lr").out) == {"clip": 1.0, "lr": 0.001}
    refused = gatewise("config", "epoch")
    assert refused.status == 2
    assert refused.err == "gatewise: there is no key 'epoch' in a configuration; did you mean 'epochs'?\n"


@pytest.mark.parametrize("wrong", ["epoch = 3", "[training]\nlr = 0.1", "lr = 'fast'", "lr = 0.1\nlr = 0.2"])
def test_a_file_with_a_mistake_gets_one_line(gatewise, tmp_path, wrong):
    file = tmp_path / "run.toml"
    file.write_text(wrong)
    done = gatewise("train", "iris", "--config", file)
    assert done.status == 2
    assert len(done.err.splitlines()) == 1
    assert str(file) in done.err
    assert not any(key not in done.err for key in ("epochs",) if "epoch" in wrong)


def test_every_key_of_the_file_is_one_of_a_run_folder(gatewise):
    assert set(tomllib.loads(gatewise("config").out)) <= set(RunConfig.model_fields)
