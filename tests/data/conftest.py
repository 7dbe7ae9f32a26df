"""What the tests of data share: a check of refusals, and the folder of larger data sets."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from gatewise.errors import GatewiseError


@pytest.fixture
def refused() -> Callable[..., AbstractContextManager[None]]:
    """`with refused("line 3", "'age'"):` expects GatewiseError in one line that has all these parts."""

    @contextmanager
    def expect(*parts: str) -> Iterator[None]:
        assert parts
        with pytest.raises(GatewiseError, match=re.escape(parts[0])) as caught:
            yield
        message = str(caught.value)
        assert "\n" not in message
        for part in parts:
            assert part in message

    return expect


@pytest.fixture(scope="session")
def adult() -> Path:
    """The folder that has adult-train.csv."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("GATEWISE_DATA", beside))
    if not (folder / "adult-train.csv").is_file():
        pytest.skip(f"adult-train.csv is not in {folder}; set GATEWISE_DATA to the folder that has it")
    return folder
