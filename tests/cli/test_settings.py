"""A key of the configuration is taken as a flag of its own, and by --set as a person writes it."""

import pytest

from gatewise.cli.settings import as_setting, parse_setting
from gatewise.config import RunConfig, load_config
from gatewise.errors import GatewiseError


@pytest.mark.parametrize(
    ("words", "flag", "expected"),
    [
        ("iris --lr 0.01 --json", "--lr", "iris --set lr=0.01 --json"),
        ("iris --test-size=0.3", "--test-size", "iris --set test_size=0.3"),
        ("--drop alive,who iris", "--drop", "--set drop=alive,who iris"),
        ("iris --stream --json", "--stream", "iris --set stream=true --json"),
        ("iris --stream false", "--stream", "iris --set stream=false"),
        ("iris --bias -1", "--bias", None),
        ("iris -l 1", "-l", None),
    ],
)
def test_a_key_is_a_flag(words, flag, expected):
    changed = as_setting(words.split(), flag)
    assert changed == (None if expected is None else expected.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("drop=alive", ["alive"]),
        ("drop=alive,who", ["alive", "who"]),
        ('drop="last, first",who', ["last, first", "who"]),
        ('drop=["alive"]', ["alive"]),
        ("drop=3", ["3"]),
        ("missing=-999", ["", "-999"]),
        ("missing=nan", ["", "nan"]),
        ("keep=true", ["true"]),
        ("expert_hidden=64", [64]),
        ("expert_hidden=64,32", [64, 32]),
        ("expert_prior=0.7,0.3", [0.7, 0.3]),
        ("target=1", "1"),
        ("lr=0.5", 0.5),
    ],
)
def test_a_setting_is_read_as_it_is_written(text, expected):
    key, value = parse_setting(text)
    assert getattr(load_config({"data": "digits", key: value}), key) == expected


def test_every_key_is_a_flag_of_train(gatewise):
    """No key is refused as an unknown flag: each comes as far as being checked."""
    for key in RunConfig.model_fields.keys() - {"data"}:
        done = gatewise("train", "nowhere.csv", f"--{key.replace('_', '-')}", "?")
        assert done.status == 2
        assert "No such option" not in done.err, key


def test_a_flag_that_is_no_key_is_refused_as_before(gatewise):
    with pytest.raises(GatewiseError, match="twice"):
        as_setting(["--lr", "1", "--lr", "2"], "--lr")
    assert "--learning" in gatewise("train", "iris", "--learning", "1").err


def test_a_flag_under_a_name_of_other_software_is_refused_with_ours(gatewise):
    done = gatewise("train", "iris", "--learning-rate", "0.1")
    assert done.status == 2
    assert "no such option: --learning-rate; did you mean '--lr'?" in done.err


def test_short_out(gatewise, tmp_path):
    done = gatewise("train", "iris", "--epochs", "1", "--lr", "0.01", "--drop", "nothing", "-o", tmp_path / "run")
    assert done.status == 2
    assert "'nothing'" in done.err
    assert gatewise("train", "iris", "--epochs", "1", "--lr", "0.01", "-o", tmp_path / "run").status == 0
    assert "lr = 0.01" in (tmp_path / "run/config.toml").read_text()
