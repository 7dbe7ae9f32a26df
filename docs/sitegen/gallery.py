"""The gallery: a page for every file under examples/, with its words, its pictures and its code."""

import ast
from pathlib import Path

from sitegen import ROOT
from sitegen.pieces import toctree

EXAMPLES = ROOT / "examples"


def examples() -> list[Path]:
    """The example files, those of the top folder first."""
    return sorted(EXAMPLES.rglob("*.py"), key=lambda path: (len(path.parts), path.name))


def page_name(path: Path) -> str:
    """`extending-estimator` for `extending/estimator.py`."""
    return "-".join(path.relative_to(EXAMPLES).with_suffix("").parts)


def pages() -> dict[str, str]:
    """Page name, below `generated/examples/`, to its Markdown."""
    written, cards = {}, []
    for path in examples():
        title, words = about(path)
        name = page_name(path)
        written[name] = page(path, title, words)
        drawn = pictures(path)
        cards.append(f"## [{title}]({name}.md)\n\n" + (f"![]({_up(drawn[0])})\n\n" if drawn else "") + words)
    head = "# Examples\n\nComplete programs in `examples/`; each runs as it stands, and the tests run it.\n\n"
    return {"index": head + "\n\n".join(cards) + "\n\n" + toctree(list(written)), **written}


def about(path: Path) -> tuple[str, str]:
    """The first sentence of an example's docstring, and the rest of its first paragraph and the second."""
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.stem
    first, *rest = doc.split("\n\n")
    line = " ".join(first.split())
    end = next((i + 1 for i, sign in enumerate(line) if sign in ".?" and line[i + 1 : i + 2] in ("", " ")), len(line))
    return line[:end].rstrip("."), "\n\n".join([line[end:].strip(), *map(shown, rest[:1])]).strip()


def shown(paragraph: str) -> str:
    """A paragraph of commands as a block of code; formatters take its indent away, so its words tell."""
    lines = [line.strip() for line in paragraph.splitlines()]
    if not all(line.startswith(("pip ", "python ", "torchrun ")) for line in lines):
        return paragraph
    return "\n".join(["```console", *lines, "```"])


def pictures(path: Path) -> list[Path]:
    """The pictures in docs/images whose names begin as the example's does."""
    return sorted((ROOT / "docs" / "images").glob(f"{path.stem}_*.png"))


def page(path: Path, title: str, words: str) -> str:
    """Words, pictures, code."""
    drawn = "\n\n".join(f"![{picture.stem}]({_up(picture)})" for picture in pictures(path))
    where = path.relative_to(ROOT)
    code = f"```{{literalinclude}} ../../../{where}\n:language: python\n```"
    return f"# {title}\n\n{words}\n\n{drawn}\n\n`{where}`:\n\n{code}\n"


def _up(picture: Path) -> str:
    return f"../../images/{picture.name}"
