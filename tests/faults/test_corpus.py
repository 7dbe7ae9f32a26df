"""What `tests.faults.fuzz` has found, kept: each is refused in a line by what reads it."""

from pathlib import Path

import pytest

from gatewise.errors import GatewiseError
from tests.faults import fuzz

CORPUS = Path(__file__).parent / "corpus"
READERS = {"stored": fuzz.of_stored}


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_what_was_found_is_refused(path):
    with pytest.raises(GatewiseError) as caught:
        READERS[path.name.split("-")[0]](path)
    assert "\n" not in str(caught.value)
