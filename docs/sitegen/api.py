"""The pages of the programming interface: one a public module, one entry a public name."""

import inspect
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from sitegen.docstrings import linked, markdown
from sitegen.pieces import first_paragraph, paragraphs, table, toctree
from sitegen.public import Name, entries, modules


def pages() -> dict[str, str]:
    """Page name, below `api/`, to its Markdown."""
    written = {module.__name__: module_page(module.__name__, module.__doc__ or "") for module in modules()}
    return {"index": index_page(), **written}


def index_page() -> str:
    """All public modules, with what each is."""
    rows = [[f"[`{m.__name__}`]({m.__name__}.md)", linked(first_paragraph(m.__doc__ or ""))] for m in modules()]
    about = (
        "# Programming interface\n\nEvery public name of every public module. What is not here is not promised to stay."
    )
    return f"{about}\n\n{table(['module', 'what it holds'], rows)}\n\n{toctree(m.__name__ for m in modules())}"


def module_page(name: str, doc: str) -> str:
    """What a module says of itself, then its names."""
    parts = [f"# `{name}`", f"```{{py:module}} {name}\n```", markdown(inspect.cleandoc(doc))]
    parts += [entry_text(entry) for entry in entries() if entry.module == name]
    return paragraphs(*parts)


def entry_text(entry: Name) -> str:
    """The directive that describes a public name; one that is described elsewhere says where."""
    heading = f"{entry.name}{signature(entry.value) if entry.kind != 'data' else ''}"
    if entry.home != entry.full:
        body = f"{linked(entry.first_sentence)}\n\nDescribed as {{py:obj}}`{entry.home}`."
    else:
        body = "\n\n".join([markdown(entry.doc), *members(entry)])
    return _directive(entry.kind, heading, body)


def _directive(kind: str, heading: str, body: str, depth: int = 0) -> str:
    fence = ":" * (6 - depth)
    return f"{fence}{{py:{kind}}} {heading}\n\n{body}\n{fence}"


def members(entry: Name) -> Iterator[str]:
    """The methods, properties and fields that a class itself defines."""
    if not inspect.isclass(entry.value):
        return
    for name, field in getattr(entry.value, "model_fields", {}).items():
        if name in entry.value.__annotations__:
            default = "" if field.is_required() else f" Default: `{field.get_default(call_default_factory=True)!r}`."
            yield _directive("attribute", name, f"{field.description or ''}.{default}", 1)
    for name, value in vars(entry.value).items():
        function = inspect.unwrap(getattr(value, "__func__", value))
        if name.startswith("_") or name.startswith("model_"):
            continue
        if isinstance(value, property) and value.__doc__:
            yield _directive("property", name, markdown(inspect.getdoc(value) or ""), 1)
        elif inspect.isfunction(function) and function.__doc__:
            shown = signature(getattr(entry.value, name), drop_self=not isinstance(value, classmethod | staticmethod))
            yield _directive("method", f"{name}{shown}", markdown(inspect.getdoc(function) or ""), 1)


def signature(value: Any, drop_self: bool = False) -> str:
    """The arguments and the result, with public types by the names that they are described under."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    parameters = list(found.parameters.values())[int(drop_self) :]
    if [str(p).split(":")[0] for p in parameters] == ["*args", "**kwargs"]:  # torch's, where a module has none
        parameters = []
    shown = [
        p.replace(
            annotation=p.empty if p.annotation is p.empty else _Shown(written(p.annotation)),
            default=p.empty if p.default is p.empty else _Shown(_default(p.default)),
        )
        for p in parameters
    ]
    nothing = found.return_annotation is inspect.Signature.empty or inspect.isclass(value)
    arguments = str(inspect.Signature(shown))
    return arguments if nothing else f"{arguments} -> {written(found.return_annotation)}"


class _Shown:
    """A text that shows as it is."""

    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _default(value: Any) -> str:
    text = repr(value)
    return "..." if "<" in text or "\n" in text else text


def written(annotation: Any) -> str:
    """An annotation in short: `Tensor`, `list[str]`, and the full name of what is public."""
    homes = _homes()
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"<class '([\w.]+)'>", r"\1", text).replace("~", "").replace("typing.", "")
    return re.sub(r"[A-Za-z_]\w*(?:\.\w+)+", lambda found: homes.get(found[0], found[0].rpartition(".")[2]), text)


@cache
def _homes() -> dict[str, str]:
    """Where each class is defined, and the name that it is described under."""
    return {f"{e.value.__module__}.{e.name}": e.home for e in entries() if inspect.isclass(e.value)}
