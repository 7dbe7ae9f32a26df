"""The Python on the pages runs as it stands."""

import re
from pathlib import Path

import pytest

import gatewise as gw

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(page.name for page in DOCS.glob("*.md") if "```python" in page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", PAGES)
def test_the_blocks_run(name):
    import matplotlib

    matplotlib.use("agg")
    scope: dict = {}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(encoding="utf-8"), re.DOTALL):
        exec(block, scope)


def test_there_are_pages():
    assert "audit.md" in PAGES


def test_the_page_of_objectives_names_them_all():
    page = (DOCS / "objectives.md").read_text(encoding="utf-8")
    assert sorted(set(re.findall(r"^\| `([a-z-]+)`", page, re.MULTILINE))) == gw.objectives.names()


def test_links_lead_somewhere():
    for page in [*DOCS.glob("*.md"), *(DOCS.parent / name for name in ("README.md", "CONTRIBUTING.md"))]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_page_of_the_layer_names_all_routers():
    page = (DOCS / "moe-layer.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `([a-z-]+)`", page, re.MULTILINE)) == gw.nn.routers.names()
