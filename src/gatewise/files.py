"""Small files, written whole or not at all, and read with one line for what is wrong with them."""

import json
import os
from pathlib import Path
from typing import Any

from gatewise.errors import GatewiseError


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name beside it and rename it into place.

    Raises:
        GatewiseError: if it cannot be written; what was there before is untouched.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise GatewiseError(f"cannot write {path}: {error.strerror}") from None


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        GatewiseError: if it is missing or is not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GatewiseError(f"{path} is missing: {path.parent} is not a finished run") from None
    except OSError as error:
        raise GatewiseError(f"cannot read {path}: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GatewiseError(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise GatewiseError(f"{path} does not hold a JSON object")
    return value
