import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise import GatewiseError
from gatewise.config import RunConfig, load_config
from gatewise.config.loading import read_toml


def test_defaults_round_trip_through_toml():
    config = load_config({"data": "digits", "regulariser": {"load": 0.1, "gate_entropy": "linear:1:0"}})
    assert load_config(tomllib.loads(config.to_toml())) == config


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"data": "digits", "epoch": 3}, "unknown key 'epoch'; did you mean 'epochs'"),
        ({"data": "digits", "epochs": 0}, "epochs: input should be greater than or equal to 1, got 0"),
        ({"data": "digits", "lr": "fast"}, "lr: "),
        ({"data": "digits", "experts": 0}, "experts: input should be greater than or equal to 1, got 0"),
        ({"data": "digits", "temperature": "linear:1"}, "'linear:1' is not a schedule"),
        ({"data": "digits", "regulariser": ["load"]}, "give NAME=WEIGHT, such as load=0.01, or none"),
        ({"data": "digits", "expert_hidden": [0]}, "every width must be from 1 to 1048576"),
        ({"data": "digits", "regulariser": 3}, "give a table of weights"),
        ({"data": "digits", "regulariser": [1]}, "give a table of weights"),
        ({"data": "digits", "regulariser": {"load": float("nan")}}, "regulariser"),
        ({"data": "digits", "regulariser": {"load": "fast"}}, "'fast' is not a schedule"),
        ({"data": "digits", "lr": float("inf")}, "lr: "),
        ({"data": "digits", "seed": 2**32}, "seed: "),
        ({"epochs": 3}, "data: field required"),
    ],
)
def test_a_bad_key_is_named_in_one_line(keys, said):
    with pytest.raises(GatewiseError) as error:
        load_config(keys)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_regularisers_from_flags():
    given_as_flags = load_config({"data": "digits", "regulariser": ["load=0.1", "z_loss=cosine:1:0"]})
    assert given_as_flags.regulariser == {"load": "0.1", "z_loss": "cosine:1:0"}
    assert load_config({"data": "digits", "regulariser": ["none"]}).regulariser == {}


@given(st.dictionaries(st.text(max_size=5), st.one_of(st.integers(), st.text(max_size=5), st.lists(st.integers()))))
def test_any_keys_are_taken_or_refused_in_words(keys):
    unknown = set(keys) - set(RunConfig.model_fields)
    with pytest.raises(GatewiseError, match="unknown key" if unknown else "data: field required"):
        load_config({key: value for key, value in keys.items() if key != "data"})


def test_toml_that_cannot_be_read(tmp_path):
    with pytest.raises(GatewiseError, match="cannot read the configuration"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b"a = \xff")
    with pytest.raises(GatewiseError, match="is not TOML"):
        read_toml(tmp_path / "bad.toml")


def test_every_key_says_what_it_is():
    assert all(field.description for field in RunConfig.model_fields.values())


def test_several_targets_may_be_a_list():
    assert load_config({"data": "d.csv", "target": ["rain", "hot, dry"]}).target == 'rain,"hot, dry"'
    assert load_config({"data": "d.csv", "target": [0, -1]}).target == "0,-1"
    with pytest.raises(GatewiseError, match="target: "):
        load_config({"data": "d.csv", "target": ["rain", 3.5]})
