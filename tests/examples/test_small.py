"""The examples that stand alone, in a short form."""

import importlib.util
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(f"{name}_example", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("estimator", ["reinmax", "gapped-straight-through"])
def test_the_latents_of_the_vae_carry_something(estimator):
    found = load("categorical_vae").main(["--steps", "250", "--estimator", estimator])
    assert found.negative_bound < found.without_latents - 0.5
    assert 0.5 < found.carried < 12.5


def test_the_vae_refuses_a_number_of_samples_in_a_line():
    with pytest.raises(
        SystemExit, match=r"categorical_vae.py: estimator 'reinmax' takes a number of samples from 1, got 0"
    ):
        load("categorical_vae").main(["--steps", "1", "--samples", "0"])


def test_attention_finds_what_nobody_showed_it():
    found = load("attention_bag").main(["--steps", "120"])
    assert found.accuracy > 0.8  # 0.5 by chance
    assert found.finds > 0.7  # 0.17 by chance
    assert 1 < found.runs <= 2


def test_the_hierarchy_learns_and_is_told_by_leaf(capsys):
    found = load("hierarchy").main(["--steps", "120"])
    assert found.accuracy > 0.85
    assert found.experts_used >= 5
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-8:]] == ["0.0", "0.1", "0.2", "0.3", "1.0", "1.1", "1.2", "2"]


def test_the_choice_of_compressors_beats_every_single_one():
    found = load("compressors").main(["--steps", "30"])
    assert found.best <= found.chosen < found.single - 0.02
