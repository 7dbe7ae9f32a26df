"""Pieces of Markdown that several pages are made of."""

from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a pipe in a cell stays one."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def toctree(names: Iterable[str]) -> str:
    """The pages below this one, in the side bar alone."""
    return "```{toctree}\n:hidden:\n\n" + "\n".join(names) + "\n```\n"


def paragraphs(*parts: str) -> str:
    """A page of these parts, one below the other."""
    return "\n\n".join(parts) + "\n"


def first_paragraph(doc: str) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join(doc.strip().split("\n\n")[0].split())
