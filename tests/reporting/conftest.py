"""A run folder with made-up contents, and a reader of pages."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.reporting.runs import make_history, make_summary


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    def write(summary: dict[str, Any] | None = None, history: list[dict[str, Any]] | None = None) -> Path:
        lines = [json.dumps(epoch) for epoch in (make_history() if history is None else history)]
        (tmp_path / "summary.json").write_text(json.dumps(summary or make_summary()), encoding="utf-8")
        (tmp_path / "metrics.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        return tmp_path

    return write
