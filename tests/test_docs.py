"""The Python on the pages runs as it stands."""

import re
from pathlib import Path

import pytest

import gatewise as gw
from gatewise.cli import main

DOCS = Path(__file__).parents[1] / "docs"
WRITTEN = [page for page in sorted(DOCS.rglob("*.md")) if "generated" not in page.relative_to(DOCS).parts]
"""The pages written by hand."""
PAGES = [str(page.relative_to(DOCS)) for page in WRITTEN if "```python" in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("name", PAGES)
def test_the_blocks_run(name, tmp_path, monkeypatch):
    import matplotlib

    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    scope: dict = {}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(encoding="utf-8"), re.DOTALL):
        exec(block, scope)


def test_there_are_pages():
    assert "audit.md" in PAGES


def test_the_page_of_objectives_names_them_all():
    page = (DOCS / "objectives.md").read_text(encoding="utf-8")
    assert sorted(set(re.findall(r"^\| `([a-z-]+)`", page, re.MULTILINE))) == gw.objectives.names()


def test_links_lead_somewhere():
    for page in [*WRITTEN, *(DOCS.parent / name for name in ("README.md", "CONTRIBUTING.md"))]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("generated/"):  # those the build of the site follows
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_commands_of_the_first_page_run(tmp_path, monkeypatch, capsys):
    """In order, after the block that writes their table; trained for 3 epochs."""
    text = (DOCS / "start.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], {})
    commands = re.search(r"```console\n(.*?)```", text, re.DOTALL)[1].splitlines()
    assert len(commands) == 4
    for command in commands:
        words = command.split()
        quick = {"train": ["--epochs", "3"], "audit": ["--seconds", "1"]}.get(words[1], [])
        with pytest.raises(SystemExit) as stopped:
            main([*words[1:], *quick])
        assert not stopped.value.code, capsys.readouterr().err
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert made >= {"predicted.parquet", "runs/sales/report.html", "runs/sales/audit.html"}


def test_the_page_of_the_layer_names_all_routers():
    page = (DOCS / "moe-layer.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `([a-z-]+)`", page, re.MULTILINE)) == gw.nn.routers.names()
