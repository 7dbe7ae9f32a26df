"""examples/transformer.py in a short form."""

import importlib.util
import re
from pathlib import Path

import pytest

import gatewise as gw

PATH = Path(__file__).parents[1] / "examples" / "transformer.py"


@pytest.fixture(scope="module")
def transformer():
    spec = importlib.util.spec_from_file_location("transformer_example", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_both_learn_and_the_use_of_experts_is_shown(transformer, capsys):
    found = transformer.main(["--steps", "40"])
    said = capsys.readouterr().out
    for name in ("dense", "mixture"):
        assert found[name].test < 1.5  # log 10 = 2.3 is where they begin
        assert f"test NLL {found[name].test:.4f}" in said
    tokens = 450 * transformer.ROWS
    for shown in re.findall(r"each expert \[(.*)\]", said):
        assert sum(map(int, shown.split(","))) == 2 * tokens
    assert len(found["mixture"].counts) == transformer.BLOCKS


@pytest.mark.parametrize("router", gw.nn.routers.names())
def test_every_router_trains(transformer, router):
    before = transformer.main(["--router", router, "--steps", "1"])["mixture"]
    after = transformer.main(["--router", router, "--steps", "10"])["mixture"]
    assert after.test < before.test


def test_a_router_that_does_not_fit_is_refused(transformer):
    with pytest.raises(SystemExit, match=r"transformer.py: router 'reinmax' chooses one expert"):
        transformer.main(["--router", "reinmax", "--k", "2", "--steps", "1"])
