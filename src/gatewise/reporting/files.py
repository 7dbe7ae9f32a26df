"""From the run folder's files to its report.html."""

import json
import os
from pathlib import Path
from typing import Any

from gatewise.errors import GatewiseError
from gatewise.reporting.page import page
from gatewise.reporting.schema import parse_history, parse_summary


def write_report(run: Path) -> Path:
    """Write `run`/report.html from `run`/summary.json and `run`/metrics.jsonl, whole or not at all.

    Raises:
        GatewiseError: for a file that is missing, malformed, or cannot be written.
    """
    summary_path, history_path = run / "summary.json", run / "metrics.jsonl"
    summary = parse_summary(_json(_text(summary_path), str(summary_path)), str(summary_path))
    lines = _text(history_path).splitlines()
    epochs = [_json(line, f"{history_path}: line {number}") for number, line in enumerate(lines, 1)]
    return _replace(run / "report.html", page(summary, parse_history(epochs, str(history_path))))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise GatewiseError(f"{path} does not exist; give the folder of a run that gatewise train has made") from None
    except OSError as error:
        raise GatewiseError(f"{path} cannot be read ({error.strerror}); mend its permissions") from None
    except UnicodeDecodeError:
        raise GatewiseError(f"{path} is not UTF-8 text; restore the file, or train the run again") from None


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise GatewiseError(f"{where} is not valid JSON; restore the file, or train the run again") from None


def _replace(path: Path, text: str) -> Path:
    """Rename a finished file into place: a reader sees the old report or the new one, never half of one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise GatewiseError(f"{path} cannot be written ({error.strerror}); free it, or its folder") from None
    finally:
        temporary.unlink(missing_ok=True)
    return path
