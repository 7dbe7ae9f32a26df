"""The files of a run folder as its page reads them."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gatewise.errors import GatewiseError
from gatewise.files import check_links, is_folder, read_text
from gatewise.parsing import check_values, parse_json
from gatewise.reporting.audit.sections import Audit, Audits
from gatewise.reporting.schemas.audit import parse_audit, parse_audit_file
from gatewise.reporting.schemas.run import Summary, parse_history, parse_summary


@dataclass(frozen=True)
class Beside:
    """What a run folder may hold beside summary.json and metrics.jsonl.

    Attributes:
        audits: the objects of audits.jsonl.
        audit: the contents of audit.json.
        environment: the contents of environment.json.
    """

    audits: Audits = ()
    audit: Audit | None = None
    environment: dict[str, Any] = field(default_factory=dict)


def read_run(run: Path) -> tuple[Summary, list[dict[str, Any]]]:
    """The summary of a run and its epochs.

    Raises:
        GatewiseError: for a folder that is not there, or a file that is missing or malformed.
    """
    if not is_folder(run):
        raise GatewiseError(f"there is no run folder {run}; make one with gatewise train")
    check_links(run)
    path = run / "summary.json"
    return parse_summary(read_object(path), str(path)), read_history(run / "metrics.jsonl")


def read_beside(run: Path) -> Beside:
    """What else the folder holds: older runs and those that were not audited have less.

    Raises:
        GatewiseError: for a file that is malformed.
    """
    audit, environment = run / "audit.json", run / "environment.json"
    found = read_object(environment) if environment.exists() else {}
    return Beside(
        audits=read_audits(run / "audits.jsonl"),
        audit=parse_audit_file(read_object(audit), str(audit)) if audit.exists() else None,
        environment=found if isinstance(found, dict) else {},
    )


def read_object(path: Path) -> Any:
    """The contents of a JSON file.

    Raises:
        GatewiseError: for a file that is missing or no JSON.
    """
    text = _text(path)
    with _said_of(str(path)):
        return parse_json(text)


def read_history(path: Path) -> list[dict[str, Any]]:
    """The epochs of a metrics.jsonl, checked to have a number.

    Raises:
        GatewiseError: for a file that is missing, or naming the first line that does not fit.
    """
    return parse_history([epoch for _, epoch in _lines(path)], str(path))


def read_audits(path: Path) -> list[dict[str, Any]]:
    """The audits along training, checked; none where the file is not there.

    Raises:
        GatewiseError: naming the first line that does not fit.
    """
    if not path.exists():
        return []
    return [parse_audit(line, f"{path}: line {number}") for number, line in _lines(path)]


def _lines(path: Path) -> list[tuple[int, Any]]:
    """The number of each line, from 1, and its value."""
    text, found = _text(path), []
    with _said_of(str(path)):
        check_values(text)
    for number, line in enumerate(text.splitlines(), 1):
        with _said_of(f"{path}: line {number}"):
            found.append((number, parse_json(line)))
    return found


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except FileNotFoundError:
        raise GatewiseError(f"{path} does not exist; give the folder of a run that gatewise train has made") from None
    except OSError as error:
        raise GatewiseError(f"{path} cannot be read ({error.strerror}); mend its permissions") from None
    except UnicodeDecodeError:
        raise GatewiseError(f"{path} is not UTF-8 text; restore the file, or train the run again") from None


@contextlib.contextmanager
def _said_of(where: str) -> Iterator[None]:
    """Make one line of what is wrong with a text.

    Raises:
        GatewiseError: that says it.
    """
    try:
        yield
    except ValueError as error:
        raise GatewiseError(f"{where} is not valid JSON: {error}; restore the file, or train the run again") from None
