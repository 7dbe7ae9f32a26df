"""The door to Sphinx: writes the generated pages before a build, and checks after reading that nothing is missing."""

import os
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError

from sitegen import api, catalogue, gallery, layers, public

OUTSIDE = {"](../README.md": "](index.md", "](../CONTRIBUTING.md": "](contributing.md"}
"""Links of the pages to files beside docs/, and the pages of the site that hold the same."""


def write(folder: Path) -> None:
    """All generated pages into `folder`; files that would not change are left alone, and those no longer made go."""
    for name in ("api", "estimators", "objectives", "examples", "fragments"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    made = {
        "api": api.pages(),
        "estimators": catalogue.write_estimators(folder / "estimators"),
        "objectives": catalogue.write_objectives(folder / "objectives"),
        "examples": gallery.pages(),
        "fragments": {"layers": layers.layers_table(), "choosing": catalogue.decision_table()},
    }
    for part, pages in made.items():
        for stale in set((folder / part).glob("*.md")) - {folder / part / f"{name}.md" for name in pages}:
            stale.unlink()
        for name, text in pages.items():
            file = folder / part / f"{name}.md"
            if not file.exists() or file.read_text(encoding="utf-8") != text:
                file.write_text(text, encoding="utf-8")


def generate(app: Sphinx) -> None:
    """`builder-inited`."""
    missing = list(public.undocumented(public.entries()))
    if missing:
        raise ExtensionError(f"public names without a docstring: {', '.join(missing)}")
    write(Path(app.srcdir) / "generated")


def check(app: Sphinx, env: BuildEnvironment) -> None:
    """`env-check-consistency`: every public name has an entry that a reader can look up."""
    known = set(env.domains["py"].objects)
    missing = sorted({entry.full for entry in public.entries()} - known)
    if missing:
        raise ExtensionError(f"public names without an entry on an API page: {', '.join(missing)}")


def relink(app: Sphinx, docname: str, source: list[str]) -> None:
    """`source-read`: links to the README and CONTRIBUTING lead to their pages, those to code are left to the reader."""
    for old, new in OUTSIDE.items():
        source[0] = source[0].replace(old, new)


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    app.connect("builder-inited", generate)
    app.connect("env-check-consistency", check)
    app.connect("source-read", relink)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
