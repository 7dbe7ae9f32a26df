"""The table of docs/dependencies.md: what gatewise needs, what for, and under which licence, as installed.

python docs/sitegen/licences.py
"""

import tomllib
from importlib.metadata import PackageNotFoundError, files, metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/dependencies.md"
BEGIN, END = "<!-- licences -->", "<!-- end of licences -->"
TOOLS = ("test", "docs", "lint")


def wanted() -> dict[str, str]:
    """Package to the extra that brings it; "" for what is always installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"]} | project["optional-dependencies"]
    names = {extra: [Requirement(line).name for line in lines] for extra, lines in groups.items()}
    return {name: extra for extra, found in names.items() if extra not in TOOLS for name in found}


def licence(package: str) -> str:
    """As the installed package says it, in a line."""
    try:
        told = metadata(package)
    except PackageNotFoundError:
        return "not installed"
    listed = [line.split(" :: ")[-1] for line in told.get_all("Classifier") or [] if line.startswith("License")]
    named = ", ".join(name.removesuffix(" License") for name in listed if name != "OSI Approved")
    return told.get("License-Expression") or named or (told.get("License") or _first_line(package)).splitlines()[0]


def _first_line(package: str) -> str:
    """Of the licence itself, where the metadata do not name it."""
    texts = [path.read_text() for path in files(package) or [] if path.name.upper().startswith("LICEN")]
    return texts[0].strip() if texts else "not said"


def table() -> str:
    """All of them, as Markdown."""
    rows = [f"| {name} | {extra or 'always'} | {licence(name)} |" for name, extra in wanted().items()]
    return "\n".join(["| package | installed with | licence |", "| --- | --- | --- |", *rows])


def main() -> None:
    """Write the table into the page."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
