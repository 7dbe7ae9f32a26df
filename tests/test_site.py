"""What the site generates: nothing public is left out, newcomers get a page, and the table of layers is the tests'."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gatewise as gw
import gatewise.testing
from gatewise.estimators.registry import ESTIMATORS
from gatewise.objectives.registry import OBJECTIVES

from .test_imports import LAYERS

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "docs"))

from sitegen import api, catalogue, docstrings, gallery, layers, licences, pictures, public  # noqa: E402

PLACES = [gw, gw.estimators, gw.objectives, gw.mixture, gw.nn, gw.nn.routers, gw.sklearn, gatewise.testing]


def test_every_public_name_has_a_docstring():
    assert not list(public.undocumented(public.entries()))


def test_a_name_without_a_docstring_is_seen(tmp_path, monkeypatch):
    source = 'class Silent: pass\n\nQUIET = 1\nLOUD = 2\n"""What it is."""\n\ndef loud():\n    """Says."""\n'
    (tmp_path / "planted.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    import planted

    names = public.public_names(planted)
    assert names == ["Silent", "QUIET", "LOUD", "loud"]
    found = (public.Name("planted", n, getattr(planted, n), public.doc_of(planted, n), n) for n in names)
    assert list(public.undocumented(tuple(found))) == ["planted.Silent", "planted.QUIET"]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_every_public_name_has_an_entry(place):
    page = api.pages()[place.__name__]
    entered = set(re.findall(r"^:{6}\{py:\w+\} (\w+)", page, re.MULTILINE))
    modules = {"estimators", "mixture", "nn", "noise", "objectives", "routers", "schedules", "__version__"}
    assert entered == set(place.__all__) - modules


def test_the_packages_and_modules_that_are_public():
    names = {module.__name__ for module in public.modules()}
    assert names >= {"gatewise", "gatewise.nn.routers", "gatewise.noise", "gatewise.schedules", "gatewise.training"}
    assert not names & {"gatewise.cli", "gatewise.files", "gatewise.wording"}


def test_signatures_link_what_is_public_and_shorten_the_rest():
    shown = api.signature(gw.objectives.Objective.forward)
    assert (
        shown == "(self, observed: gatewise.mixture.Observed, generator: Generator | None = None) -> gatewise.Estimate"
    )
    assert api.signature(torch.nn.Module) == "()"


def test_docstrings_become_markdown():
    doc = "Does it, see `gw.expect`.\n\nArgs:\n    x, y: rows,\n        and more.\n\nRaises:\n    GatewiseError: never."
    assert docstrings.markdown(doc) == (
        "Does it, see {py:obj}`gw.expect <gatewise.expect>`.\n\n**Args:**\n\n- `x, y`: rows, and more.\n\n"
        "**Raises:**\n\n- {py:obj}`GatewiseError <gatewise.GatewiseError>`: never."
    )


def test_a_registered_newcomer_gets_its_page(tmp_path, monkeypatch):
    class Newcomer(gw.estimators.ScoreFunction):
        """Formula of the newcomer."""

        name = "newcomer"
        unbiased = frozenset({"value"})

    class Bound(gw.objectives.Marginal):
        """Formula of the bound."""

        name = "bound"

    monkeypatch.setattr(ESTIMATORS, "_known", {"newcomer": Newcomer})
    monkeypatch.setattr(OBJECTIVES, "_known", {"bound": Bound})
    pages = catalogue.write_estimators(tmp_path)
    assert set(pages) == {"index", "newcomer"}
    assert "Formula of the newcomer." in pages["newcomer"]
    assert "| biased for | logits, parameters |" in pages["newcomer"]
    assert (tmp_path / "newcomer.svg").read_text().startswith("<?xml")
    assert "[newcomer](generated/estimators/newcomer.md)" in catalogue.decision_table()
    assert "Formula of the bound." in catalogue.write_objectives(tmp_path)["bound"]


def test_the_decision_table_names_every_estimator_once():
    named = re.findall(r"\[([a-z-]+)\]\(", catalogue.decision_table())
    assert sorted(named) == gw.estimators.names()


def test_the_measurement_sees_a_bias_and_none():
    """8000 draws; the score function's mean strays by more than 4 of its own standard errors once in 10,000 seeds."""
    biased = pictures.measure("gumbel-softmax", 5.0, 1, temperature=5.0)
    right = pictures.measure("score-function", 2, 2)
    assert biased.told_from_zero
    assert biased.bias > 0.1
    assert right.bias < 4 * right.noise
    assert pictures.measure("enumeration", 1, 1).bias < 1e-12


def test_the_gap_of_the_marginal_is_none_and_more_draws_close_it():
    assert max(map(abs, pictures.gaps("marginal")["marginal"])) < 1e-12
    few, _, many = pictures.gaps("multi-sample").values()
    assert all(a > b for a, b in zip(few, many, strict=True))


def test_the_table_of_layers_is_that_of_the_tests():
    rows = re.findall(r"^\| (\d+) \| `(\w+)`", layers.layers_table(), re.MULTILINE)
    assert {(part, int(layer)) for layer, part in rows} == {
        (part, layer) for part, layer in LAYERS.items() if part in layers.arrows()
    }
    assert "expectation" in layers.arrows()["estimators"]


def test_every_example_has_a_page():
    pages = gallery.pages()
    assert {"answer", "transformer", "extending-estimator", "extending-head", "extending-objective"} < set(pages)
    assert pages["transformer"].startswith("# ")


def test_the_commands_of_an_example_stay_lines_of_their_own():
    pages = gallery.pages()
    start = "```console\npip install skorch\npython examples/loops/with_skorch.py"
    assert start in pages["loops-with_skorch"]
    assert start in pages["index"]
    assert pages["loops-own_models"].count("```") == 2  # the code alone


def test_the_examples_of_extending_pass_their_own_checks():
    """In a process of their own: they register what the other tests must not see."""
    files = sorted(str(path) for path in (ROOT / "examples" / "extending").glob("*.py"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", *files]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert answer.returncode == 0, answer.stdout
    assert "3 passed" in answer.stdout
    assert len((ROOT / "examples/extending/estimator.py").read_text().splitlines()) <= 60


def test_every_dependency_is_listed_with_its_licence():
    rows = re.findall(r"^\| ([\w.-]+) \| ([\w-]+) \| (.+) \|$", licences.PAGE.read_text(encoding="utf-8"), re.M)[1:]
    assert {name: "" if extra == "always" else extra for name, extra, _ in rows} == licences.wanted()
    assert all(re.search(r"MIT|BSD|Apache|Python Software Foundation", licence) for *_, licence in rows)
