"""What is public: the names that packages give in `__all__`, where each is described, and by what words."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import gatewise
from sitegen.pieces import first_paragraph

NOT_PAGES = {"cli"}
"""The command line is used by its commands; it exports nothing to program with."""


@dataclass(frozen=True)
class Name:
    """A public name.

    Attributes:
        module: the public module that exports it.
        name: in that module.
        value: what it stands for.
        doc: its docstring, "" where there is none.
        home: the full name under which it is described; another one than its own where two modules export it.
    """

    module: str
    name: str
    value: Any
    doc: str
    home: str

    @property
    def full(self) -> str:
        """As it is imported."""
        return f"{self.module}.{self.name}"

    @property
    def first_sentence(self) -> str:
        """The docstring's first paragraph, on one line."""
        return first_paragraph(self.doc)

    @property
    def kind(self) -> str:
        """The directive of Sphinx's Python domain that describes it."""
        if inspect.isclass(self.value):
            is_error = issubclass(self.value, BaseException)
            return "exception" if is_error else "class"
        return "function" if inspect.isroutine(self.value) else "data"


def modules() -> list[ModuleType]:
    """The public modules, `gatewise` first: packages with an `__all__`, and modules that such a package exports."""
    found = {"gatewise": gatewise}
    waiting = [f"gatewise.{info.name}" for info in pkgutil.iter_modules(gatewise.__path__)]
    waiting = [name for name in waiting if name.split(".")[1] not in {*NOT_PAGES, "__main__"}]
    while waiting:
        module = importlib.import_module(waiting.pop())
        exported = [getattr(module, name, None) for name in getattr(module, "__all__", ())]
        stated = hasattr(module, "__all__") or module.__name__.rpartition(".")[2] in gatewise.__all__
        if module.__name__ not in found and stated:
            found[module.__name__] = module
            waiting += [value.__name__ for value in exported if inspect.ismodule(value)]
    return [found[name] for name in sorted(found)]


def public_names(module: ModuleType) -> list[str]:
    """Of a module: `__all__`, or where it has none what it defines without an underscore."""
    stated = getattr(module, "__all__", None)
    names = [name for name in _defined(module) if not name.startswith("_")] if stated is None else stated
    return [name for name in names if not inspect.ismodule(getattr(module, name)) and name != "__version__"]


@cache
def _defined(module: ModuleType) -> dict[str, str]:
    """What a module defines at its top level, and the docstring of each."""
    body = ast.parse(inspect.getsource(module)).body
    found = {}
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = ast.get_docstring(node) or ""
        for target in _targets(node):
            said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            found[target] = inspect.cleandoc(str(after.value.value)) if said else ""
    return found


def _targets(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.AnnAssign):
        return [node.target.id] if isinstance(node.target, ast.Name) else []
    return [t.id for t in node.targets if isinstance(t, ast.Name)] if isinstance(node, ast.Assign) else []


def _origin(module: ModuleType, name: str) -> ModuleType:
    """The module that defines what `module` exports as `name`."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) == name for alias in node.names):
            return importlib.import_module(node.module or "")
    return module


def doc_of(module: ModuleType, name: str) -> str:
    """The docstring of a public name; of a constant the string after its assignment."""
    value = getattr(module, name)
    if inspect.isclass(value):
        return inspect.cleandoc(vars(value).get("__doc__") or "")
    if inspect.isroutine(value):
        return inspect.getdoc(value) or ""
    return _defined(_origin(module, name)).get(name, "")


@cache
def entries() -> tuple[Name, ...]:
    """Every public name of every public module."""
    listed = [(m, name, getattr(m, name)) for m in modules() for name in public_names(m)]
    homes: dict[int, str] = {}
    for module, name, value in reversed(listed):  # `gatewise` comes last: what it exports is described in a package
        if inspect.isclass(value) or inspect.isfunction(value):
            homes.setdefault(id(value), f"{module.__name__}.{name}")
    return tuple(
        Name(m.__name__, name, value, doc_of(m, name), homes.get(id(value), f"{m.__name__}.{name}"))
        for m, name, value in listed
    )


def undocumented(names: tuple[Name, ...]) -> Iterator[str]:
    """The full names of those without a docstring; a dataclass's made-up signature is none."""
    for entry in names:
        made_up = inspect.isclass(entry.value) and entry.doc.startswith(f"{entry.name}(")
        if not entry.doc or made_up:
            yield entry.full
