"""`gatewise doctor`."""

import json
from typing import Any

from rich.table import Table

from gatewise.cli.console import console
from gatewise.cli.machine import examine
from gatewise.cli.options import Json


def doctor(json_: Json = False) -> None:
    """Print versions, devices and threads, and what is missing with the command that brings it.

    Example: gatewise doctor
    """
    found = examine()
    if json_:
        print(json.dumps(found))
        return
    screen = console()
    screen.print(facts(found))
    screen.print()
    screen.print(package_table(found["packages"]))
    screen.print()
    for use, line in found["missing"].items():
        screen.print(f"- not installed, for {use}: {line}", soft_wrap=True)
    for problem in found["problems"]:
        screen.print(f"! {problem}", style="yellow", soft_wrap=True)
    if not found["missing"] and not found["problems"]:
        screen.print("Nothing is missing.")


def facts(found: dict[str, Any]) -> Table:
    """What there is, a line a fact."""
    chip = found["processor"]
    set_by = "" if chip["OMP_NUM_THREADS"] is None else f" (OMP_NUM_THREADS={chip['OMP_NUM_THREADS']})"
    algebra = [chip["blas"] or "no BLAS", *(["oneDNN"] if chip["onednn"] else [])]
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("gatewise", f"{found['gatewise']}, in {found['folder']}")
    table.add_row("python", f"{found['python']}, {found['platform']}")
    table.add_row("threads", f"{chip['threads']} of torch{set_by}, {chip['cores']} cores")
    table.add_row("computes with", f"{chip['vectors']}, {' and '.join(algebra)}")
    for device in found["devices"]:
        memory = f", {device['memory']} GiB" if "memory" in device else ""
        table.add_row("device", f"{device['device']}: {device['name']}{memory}")
    return table


def package_table(packages: list[dict[str, Any]]) -> Table:
    """A line a package."""
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("package", "installed", "wanted", "for"):
        table.add_column(heading)
    for package in packages:
        installed = package["installed"] or "missing"
        table.add_row(
            package["name"],
            installed,
            package["wanted"],
            package["use"] or "",
            style=None if package["fits"] else "yellow",
        )
    return table
