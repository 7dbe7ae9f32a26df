"""Tables of sweeps, and their place on a page: as the benchmarks have them, which are no package."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

_COMMON = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "common.py"))

table: Callable[[list[dict[str, Any]]], str] = _COMMON["table"]
"""Rows with the same keys, as a table in Markdown."""

fill_page: Callable[[str, str, str], None] = _COMMON["fill_page"]
"""Put text between the marks `<!-- NAME -->` and `<!-- end of NAME -->` of a page, given from the repository's root."""
