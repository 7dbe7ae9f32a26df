"""What imports what: `import gatewise` needs torch alone, and nothing imports what is above it."""

import ast
import collections
import graphlib
import importlib
import importlib.util
import itertools
import subprocess
import sys
from pathlib import Path

import pytest

import gatewise
import gatewise.testing

SOURCE = Path(gatewise.__file__).parent

OUTSIDE_SUITE = [Path(__file__).parent, *(Path(__file__).parents[1] / name for name in ("benchmarks", "examples"))]

LAYERS = {
    "precision": 0,
    "autograd": 0,
    "wording": 0,
    "parsing": 0,
    "errors": 1,
    "files": 2,
    "noise": 2,
    "schedules": 2,
    "registry": 2,
    "outcomes": 2,
    "expectation": 3,
    "data": 3,
    "estimators": 4,
    "mixture": 4,
    "distributed": 5,
    "metrics": 5,
    "objectives": 5,
    "nn": 5,
    "auditing": 6,
    "testing": 6,
    "reporting": 7,
    "config": 7,
    "training": 8,
    "models": 9,
    "runs": 10,
    "sklearn": 10,
    "comparison": 11,
    "cli": 12,
    "__main__": 13,
}
"""An import goes to a lower layer, or stays inside its own package. `__init__` is the core's public page."""

CORE = {
    "autograd",
    "errors",
    "precision",
    "wording",
    "schedules",
    "registry",
    "outcomes",
    "expectation",
    "noise",
    "estimators",
    "mixture",
    "nn",
    "objectives",
}
TORCH_ALONE = {*CORE, "testing"}
"""What needs torch and nothing else: the core, and what a third party tests its own estimator with."""

NOT_IMPORTED = (
    "polars",
    "pandas",
    "matplotlib",
    "sklearn",
    "scipy",
    "pyarrow",
    "typer",
    "rich",
    "pydantic",
    "jinja2",
    "skops",
    "safetensors",
    "joblib",
    "gatewise.comparison",
    "gatewise.config",
    "gatewise.models",
    "gatewise.runs",
    "gatewise.training",
    "gatewise.reporting",
    "gatewise.data",
    "gatewise.cli",
    "gatewise.sklearn",
    "gatewise.testing",
)


def files() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py"))


def part_of(path: Path) -> str:
    """The module or package right under gatewise that a file belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def is_module(name: str) -> bool:
    """Whether a full name is one of gatewise's modules."""
    path = SOURCE.parent / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def imports(source: str) -> set[str]:
    """Full names of the modules imported anywhere in a file, but for those under `if TYPE_CHECKING`."""
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(source)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            among = {name for name in names if is_module(name)}
            found |= among if len(among) == len(names) else {node.module, *among}
            if node.module == "gatewise":
                found |= {"gatewise", *names}
        pending.extend(ast.iter_child_nodes(node))
    return found


def parts_imported(source: str) -> set[str]:
    """The parts of gatewise that a file imports, as `gatewise.part` or `from gatewise import part`."""
    names = [name.split(".") for name in imports(source)]
    parts = {name[1] for name in names if name[0] == "gatewise" and len(name) > 1}
    return {part for part in parts if (SOURCE / part).is_dir() or (SOURCE / f"{part}.py").is_file()}


def test_import_gatewise_needs_torch_alone_and_the_command_line_not_what_only_reports_and_tables_do():
    code = (
        "import gatewise, sys; print('torch' in sys.modules); [getattr(gatewise, name) for name in gatewise.__all__];"
        f"print([name for name in {NOT_IMPORTED} if name in sys.modules]);"
        "import gatewise.cli.app; print([name for name in ('matplotlib', 'skops') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split("\n") == ["False", "[]", "[]", ""]


def test_the_scikit_learn_door_opens_when_it_is_asked_for():
    assert gatewise.sklearn.MixtureOfExpertsClassifier().get_params()["n_experts"] == 4
    with pytest.raises(AttributeError, match="no attribute 'scikit'"):
        _ = gatewise.scikit


def test_the_tests_for_a_third_party_need_no_test_runner():
    code = "import gatewise.testing, sys; print([n for n in ('pytest', 'hypothesis', 'scipy') if n in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_every_part_has_a_layer():
    unknown = {part_of(path) for path in files()} - set(LAYERS) - {"__init__"}
    assert not unknown, f"say in LAYERS where {unknown} stands"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_imports_what_is_above_it(path):
    part = part_of(path)
    if part == "__init__":
        return
    for other in parts_imported(path.read_text()) - {part}:
        assert LAYERS[other] < LAYERS[part], f"{part} imports {other}"
        assert other != "data" or part not in CORE, f"{part} imports data"


NEVER = {
    "data": {"torch", "gatewise.config"},
    "metrics": {"gatewise.auditing", "gatewise.reporting"},
    "auditing": {"gatewise.metrics", "gatewise.reporting"},
    "reporting": {"gatewise.config", "gatewise.data", "gatewise.models", "gatewise.runs", "gatewise.training"},
    "training": {
        *(
            "gatewise.data.preprocessing",
            "gatewise.data.readers",
            "gatewise.models",
            "gatewise.reporting",
            "gatewise.runs",
        )
    },
    "models": {"gatewise.runs"},
    "sklearn": {"gatewise.cli", "gatewise.reporting", "gatewise.runs"},
}
"""What a package must not know, by the modules that it never imports."""
ABOVE_GROUND = {
    "fit": 0,
    "resume": 1,
    "restarts": 2,
    "state": 3,
    "loop": 4,
    "nonfinite": 5,
    "validation": 5,
    "step": 6,
}
"""The modules of training that stand on its ground, each above what it imports."""
GROUND = ("callbacks", "checkpoints", "collapse", "data_parallel", "input", "optim", "seeding", "stateful")
"""Its modules and packages that do not import each other."""


def modules() -> dict[str, set[str]]:
    """Each module of gatewise, and those that it imports or whose names it does."""
    names = {name_of(path): path for path in files()}
    return {name: (imports(path.read_text()) & names.keys()) - {name} for name, path in names.items()}


def name_of(path: Path) -> str:
    return ".".join(("gatewise", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")


@pytest.mark.parametrize("part", sorted(NEVER))
def test_a_package_does_not_know_what_it_need_not(part):
    for path in files():
        if part_of(path) == part:
            for other in imports(path.read_text()):
                assert not any(f"{other}.".startswith(f"{never}.") for never in NEVER[part]), f"{path} imports {other}"


def test_no_two_modules_import_each_other():
    """A topological order exists; `graphlib` names a circle where it does not."""
    order = [*graphlib.TopologicalSorter(modules()).static_order()]
    assert order.index("gatewise.expectation") < order.index("gatewise.training.loop")
    with pytest.raises(graphlib.CycleError):
        list(graphlib.TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())


def inside_training(module: str) -> str:
    """The module or package right under gatewise.training that a module belongs to."""
    return module.removeprefix("gatewise.training").removeprefix(".").split(".")[0]


def test_inside_training_no_arrow_goes_back_and_none_between_two_of_the_ground():
    for name, wanted in modules().items():
        own = inside_training(name)
        if name.startswith("gatewise.training.") and own:
            assert own in {*ABOVE_GROUND, *GROUND}, f"say where {name} stands inside training"
            others = {inside_training(other) for other in wanted if other.startswith("gatewise.training.")} - {own}
            for other in others - ({*GROUND} if own in ABOVE_GROUND else set()):
                assert own in ABOVE_GROUND, f"{name}, of the ground, imports {other}"
                assert ABOVE_GROUND[own] < ABOVE_GROUND[other], f"{name} imports {other}"


def test_the_loop_does_not_know_who_keeps_it_nor_the_step_who_traces_it():
    graph = modules()
    for high, low in (("checkpoints", "loop"), ("nonfinite", "step"), ("checkpoints", "step")):
        wanted = graph[f"gatewise.training.{low}"]
        assert not any(inside_training(other) == high for other in wanted if other.startswith("gatewise.training"))


@pytest.mark.parametrize("part", sorted(TORCH_ALONE))
def test_the_core_imports_the_standard_library_and_torch(part):
    own = [path for path in files() if part_of(path) == part]
    assert own
    for path in own:
        names = imports(path.read_text())
        assert "gatewise" not in names, f"{path} imports the public page, which imports it"
        roots = {name.split(".")[0] for name in names}
        assert roots <= set(sys.stdlib_module_names) | {"torch", "gatewise"}, path


def test_the_reader_of_imports_sees_them():
    source = """
import os.path
from gatewise import objectives, expect
from gatewise.estimators.base import Tempered
if TYPE_CHECKING:
    from gatewise.cli import main
def late():
    import gatewise.training.loop
"""
    assert parts_imported(source) == {"objectives", "estimators", "training"}
    assert "os.path" in imports(source)


@pytest.mark.parametrize("page", [gatewise, gatewise.testing], ids=lambda page: page.__name__)
def test_the_public_names_exist(page):
    assert sorted(page.__all__) == page.__all__
    for name in page.__all__:
        assert hasattr(page, name)


def test_no_class_name_stands_twice():
    found = collections.Counter(
        node.name for path in files() for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)
    )
    assert [name for name, times in found.items() if times > 1 and not name.startswith("_")] == []


def test_what_tests_benchmarks_and_examples_import_is_there():
    """The longer forms of tests, and benchmarks, run rarely: a name that moved would be missed until then."""
    for path in sorted(itertools.chain(*(folder.rglob("*.py") for folder in OUTSIDE_SUITE if folder.is_dir()))):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "gatewise":
                module = importlib.import_module(node.module)
                for name in (alias.name for alias in node.names):
                    assert hasattr(module, name) or importlib.util.find_spec(f"{node.module}.{name}"), (
                        f"{path} imports {name} of {node.module}"
                    )


def test_subpackages_are_attributes_where_nothing_else_was_imported():
    code = (
        "import gatewise as gw, sys; assert 'gatewise.training' not in sys.modules\n"
        "assert set(gw.LAZY) <= set(dir(gw))\n"
        "gw.training.fit, gw.comparison.compare, gw.testing.check_gradient_estimator, gw.data.read, gw.distributed\n"
        "gw.sklearn.MixtureOfExpertsClassifier"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
