"""Examples in docstrings: every public class and function of the core has one, and it gives what it says."""

import doctest
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import gatewise as gw
from gatewise.estimators.registry import ESTIMATORS
from gatewise.nn.routers.registry import ROUTERS
from gatewise.objectives.registry import OBJECTIVES
from gatewise.registry import Registry

sys.path.append(str(Path(__file__).parents[1] / "docs"))

from sitegen.docstrings import markdown
from sitegen.public import public_names

MODULES = [gw, gw.estimators, gw.objectives, gw.mixture, gw.nn, gw.nn.routers, gw.noise, gw.schedules, gw.sklearn]
REGISTRIES: list[Registry[Any]] = [ESTIMATORS, OBJECTIVES, ROUTERS]
LONGEST = 12
"""Lines of an example, without what it gives: more is a page."""


def described(module: ModuleType) -> dict[str, Any]:
    """The public classes and functions of a module by their full names, and the module itself."""
    public = {f"{module.__name__}.{name}": getattr(module, name) for name in public_names(module)}
    return {module.__name__: module} | {n: v for n, v in public.items() if inspect.isclass(v) or inspect.isroutine(v)}


def registered() -> dict[str, Any]:
    """The classes in our registries that are ours: tests of others' may have left theirs."""
    classes = {f"{registry.kind} {name}": registry.named(name) for registry in REGISTRIES for name in registry.names()}
    return {name: cls for name, cls in classes.items() if cls.__module__.startswith("gatewise.")}


def docstring(value: Any) -> str:
    """Its own: a base class's example is not an example of what is derived from it."""
    return inspect.cleandoc(vars(value).get("__doc__") or "") if inspect.isclass(value) else inspect.getdoc(value) or ""


def examples(value: Any) -> list[doctest.Example]:
    return doctest.DocTestParser().get_examples(docstring(value))


SUBJECTS = {name: value for module in MODULES for name, value in described(module).items()}
SUBJECTS |= {name: cls for name, cls in registered().items() if cls not in SUBJECTS.values()}


@pytest.fixture
def _as_found(monkeypatch):
    """An example may register a class, and draws from torch's generator."""
    for registry in REGISTRIES:
        monkeypatch.setattr(registry, "_known", {**registry._known})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("name", SUBJECTS)
@pytest.mark.usefixtures("_as_found")
def test_an_example_gives_what_it_says(name):
    found = examples(SUBJECTS[name])
    if not found and inspect.ismodule(SUBJECTS[name]):
        pytest.skip("a module may do without")
    assert found, f"{name} has no example in its docstring"
    assert any(example.want for example in found), f"the example of {name} shows nothing"
    assert sum(example.source.count("\n") for example in found) <= LONGEST
    test = doctest.DocTest(found, {}, name, None, None, docstring(SUBJECTS[name]))
    told: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    assert runner.run(test, out=told.append).failed == 0, "".join(told)


def test_a_name_without_an_example_and_a_wrong_one_are_seen():
    def silent():
        """Says nothing of how it is used."""

    def wrong():
        """Not so.

        >>> 1 + 1
        3
        """

    assert not examples(silent)
    test = doctest.DocTest(examples(wrong), {}, "wrong", None, None, docstring(wrong))
    assert doctest.DocTestRunner().run(test, out=[].append).failed == 1


def test_an_example_is_a_block_of_code_on_the_site():
    page = markdown(docstring(gw.estimators.Enumeration))
    assert "```pycon\n>>> import torch\n" in page
    assert page.count("```") == 2
