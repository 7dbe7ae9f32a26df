"""The commented configuration file says what a configuration takes, and nothing else."""

import tomllib

import pytest

import gatewise as gw
from gatewise import GatewiseError
from gatewise.config import RunConfig, load_config
from gatewise.config.template import HEADINGS, config_text, fields, written


def uncommented(text: str) -> dict:
    """The keys of the file that are unset, with the values it shows for them."""
    return tomllib.loads("\n".join(line[1:] for line in text.splitlines() if line[:1] == "#" and line[1:2] not in " "))


def test_it_loads_to_exactly_the_defaults():
    assert load_config(tomllib.loads(config_text())) == RunConfig(data="digits")


def test_every_key_stands_in_it_once_and_has_words():
    text = config_text()
    live, unset = tomllib.loads(text), uncommented(text)
    assert sorted([*live, *unset]) == sorted(RunConfig.model_fields)
    for part in text.split("\n\n"):
        lines = part.splitlines()
        if not lines[-1].startswith("# "):  # neither the top nor a heading
            assert lines[0].startswith("# "), part
            assert any(line.startswith("# Takes ") for line in lines), part


@pytest.mark.parametrize("key", [key for key, field in RunConfig.model_fields.items() if field.default is None])
def test_a_key_that_is_unset_shows_a_value_that_it_takes(key):
    shown = uncommented(config_text())[key]
    assert getattr(load_config({"data": "digits", key: shown}), key) == shown
    assert shown is not True or "bool" in str(RunConfig.model_fields[key].annotation)


def test_choices_and_bounds_are_said():
    assert '# Takes one of "constant", "cosine".\nlr_schedule = "cosine"\n' in config_text(["lr_schedule"])
    assert "# Takes a whole number from 1 to 65536; unset by default.\n#experts = 4\n" in config_text(["experts"])
    assert "# Takes a number from 0 below 1.\n" in config_text(["test_size"])
    for key, names in (("objective", gw.objectives.names()), ("estimator", [*gw.estimators.names(), "vimco"])):
        assert all(f'"{name}"' in config_text([key]).replace("\n# ", " ") for name in names)
    assert all(name in config_text(["regulariser"]) for name in gw.objectives.REGULARISERS)


def test_some_keys_alone():
    assert tomllib.loads(config_text(["lr", "seed"])) == {"lr": 1e-3, "seed": 0}
    with pytest.raises(GatewiseError, match="there is no key 'learning_rate' in a configuration; did you mean 'lr'"):
        config_text(["learning_rate"])
    with pytest.raises(GatewiseError, match="did you mean 'epochs'"):
        config_text(["epoch"])


def test_the_headings_stand_before_keys_and_lines_are_short():
    assert set(HEADINGS) <= set(fields())
    for heading in HEADINGS.values():
        assert f"# ---- {heading} ----" in config_text()
    assert max(map(len, config_text().splitlines())) <= 104


@pytest.mark.parametrize("value", [{"a b": 1, "c": {"d": [1.5, "x"]}}, ["", "?"], 'a"b\\c\nd', 1e-9, True, [], {}])
def test_values_are_written_on_one_line(value):
    assert "\n" not in written(value)
    assert tomllib.loads(f"value = {written(value)}") == {"value": value}
