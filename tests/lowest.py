"""The lowest versions that pyproject.toml allows, as lines of a constraints file: what `make test-min` installs.

    python tests/lowest.py > build/lowest.txt

Tools that run the tests are not among them, and a package that constraints.txt pins because no other version can be
had everywhere (torch) keeps that pin.
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PINNED = ("torch",)
TOOLS = ("test", "docs", "lint", "examples")


def lowest(project: dict, pins: dict[str, str]) -> dict[str, str]:
    """Package to version."""
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(line for name in extras if name not in TOOLS for line in extras[name])]
    found = dict(re.match(r"([\w.-]+)(?:\[.*\])?>=([\w.]+)", line).groups() for line in wanted)
    return found | {name: pins[name] for name in PINNED}


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    for name, version in lowest(project, pins).items():
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()
