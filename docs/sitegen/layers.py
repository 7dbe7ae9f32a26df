"""The picture of what imports what, from the table that the tests hold the code to."""

import ast
from functools import cache

from sitegen.pieces import first_paragraph, table
from tests.test_imports import LAYERS, SOURCE, files, part_of, parts_imported


@cache
def arrows() -> dict[str, set[str]]:
    """The parts that each part of gatewise imports, as the source is now."""
    found: dict[str, set[str]] = {}
    for path in files():
        part = part_of(path)
        if part != "__init__":
            found.setdefault(part, set()).update(parts_imported(path.read_text(encoding="utf-8")) - {part})
    return found


def layers_table() -> str:
    """A row a layer, the highest first: its parts, their first words, and what they import."""
    imported = arrows()
    rows = []
    for part in sorted(imported, key=lambda known: (-LAYERS[known], known)):
        below = sorted(imported[part], key=lambda known: (-LAYERS[known], known))
        shown = ", ".join(f"`{name}`" for name in below) or "–"
        rows.append([str(LAYERS[part]), f"`{part}`", _first_words(part), shown])
    return table(["layer", "part", "what it is", "imports"], rows) + "\n"


def _first_words(part: str) -> str:
    path = SOURCE / part / "__init__.py" if (SOURCE / part).is_dir() else SOURCE / f"{part}.py"
    return first_paragraph(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")
