"""From the run folder's files to its report.html."""

import json
from pathlib import Path
from typing import Any

from gatewise.errors import GatewiseError
from gatewise.files import write_text
from gatewise.reporting.audit.schema import parse_audit
from gatewise.reporting.page import page
from gatewise.reporting.schema import parse_history, parse_summary


def write_report(run: Path) -> Path:
    """Write `run`/report.html from `run`/summary.json, metrics.jsonl and audits.jsonl, whole or not at all.

    Raises:
        GatewiseError: for a file that is missing, malformed, or cannot be written.
    """
    summary_path = run / "summary.json"
    summary = parse_summary(read_object(summary_path), str(summary_path))
    report = run / "report.html"
    write_text(report, page(summary, read_history(run / "metrics.jsonl"), read_audits(run / "audits.jsonl")))
    return report


def read_object(path: Path) -> Any:
    """The contents of a JSON file.

    Raises:
        GatewiseError: for a file that is missing or no JSON.
    """
    return _json(_text(path), str(path))


def read_history(path: Path) -> list[dict[str, Any]]:
    """The epochs of a metrics.jsonl, checked to have a number.

    Raises:
        GatewiseError: for a file that is missing, or naming the first line that does not fit.
    """
    lines = _text(path).splitlines()
    epochs = [_json(line, f"{path}: line {number}") for number, line in enumerate(lines, 1)]
    return parse_history(epochs, str(path))


def read_audits(path: Path) -> list[dict[str, Any]]:
    """The audits along training, checked; none where the file is not there.

    Raises:
        GatewiseError: naming the first line that does not fit.
    """
    if not path.exists():
        return []
    lines = enumerate(_text(path).splitlines(), 1)
    return [parse_audit(_json(line, where := f"{path}: line {number}"), where) for number, line in lines]


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
