"""Registries: found by name, refused with the nearest, and open to a third party."""

import pytest

import gatewise as gw
from gatewise.estimators.registry import ESTIMATORS
from gatewise.registry import Registry
from gatewise.wording import instead


@pytest.fixture
def registry():
    registry = Registry("vegetable")

    @registry.register
    class Carrot:
        name = "carrot"

        def __init__(self, length: float = 10.0, colour: str = "orange"):
            self.length, self.colour = length, colour

    @registry.register
    class Beetroot:
        name = "beetroot"

    return registry


def test_names_are_sorted(registry):
    assert registry.names() == ["beetroot", "carrot"]


def test_one_is_made_with_its_options(registry):
    made = registry.get("carrot", colour="purple")
    assert (made.length, made.colour) == (10.0, "purple")
    assert registry.options("carrot") == {"length": 10.0, "colour": "orange"}
    assert registry.options("beetroot") == {}


def test_an_unknown_name_is_told_the_nearest(registry):
    with pytest.raises(gw.GatewiseError, match=r"^unknown vegetable 'carot'; did you mean 'carrot'\?$"):
        registry.get("carot")
    with pytest.raises(gw.GatewiseError, match=r"^unknown vegetable 'x'; choose one of beetroot, carrot$"):
        registry.get("x")
    with pytest.raises(gw.GatewiseError, match="unknown vegetable"):
        registry.options("x")


def test_an_unknown_option_is_told_those_there_are(registry):
    with pytest.raises(gw.GatewiseError, match="'carrot' has no option 'size'; it takes length, colour"):
        registry.get("carrot", size=3)
    with pytest.raises(gw.GatewiseError, match="it takes none"):
        registry.get("beetroot", size=3)


def test_a_name_is_taken_once(registry):
    class Impostor:
        name = "carrot"

    with pytest.raises(gw.GatewiseError, match=r"'carrot' is registered already, as .*Carrot"):
        registry.register(Impostor)
    assert type(registry.get("carrot")).__name__ == "Carrot"


def test_a_class_of_the_same_name_from_elsewhere_is_another_class():
    impostor = type("Enumeration", (gw.estimators.GradientEstimator,), {"name": "enumeration"})
    impostor.__module__ = "third_party"
    with pytest.raises(gw.GatewiseError, match="registered already"):
        ESTIMATORS.register(impostor)


def test_a_module_run_again_replaces_its_own(registry):
    """A notebook cell that defines an estimator may be run twice."""

    def cell():
        @registry.register
        class Leek:
            name = "leek"

        return Leek

    first, second = cell(), cell()
    assert first is not second
    assert type(registry.get("leek")) is second


def test_a_class_without_a_name_is_refused(registry):
    with pytest.raises(gw.GatewiseError, match="needs a class attribute name to be registered as vegetable"):
        registry.register(type("Nameless", (), {}))


def test_instead_names_one_or_all():
    assert instead("gumbel", ["gumbel-rao", "arsm"]) == "; did you mean 'gumbel-rao'?"
    assert instead("zzz", ["gumbel-rao", "arsm"]) == "; choose one of gumbel-rao, arsm"


def test_the_librarys_own_registries_are_open():
    assert "score-function" in gw.estimators.names()
    assert gw.objectives.names() == sorted(gw.objectives.names())
    assert gw.estimators.options("score-function")["baseline"] == "running-mean"
    assert gw.estimators.options("antithetic") == {}
    with pytest.raises(gw.GatewiseError, match="did you mean 'score-function'"):
        gw.estimators.get("score-funtion")
    with pytest.raises(gw.GatewiseError, match="unknown objective 'margnal'; did you mean 'marginal'"):
        gw.objectives.get("margnal")


def test_the_error_is_a_value_error():
    assert issubclass(gw.GatewiseError, ValueError)
