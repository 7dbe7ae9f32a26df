"""What `tests.faults.fuzz` has found, kept: each is refused in a line by what reads it."""

from pathlib import Path

import pytest

from gatewise.errors import GatewiseError
from tests.faults import fuzz

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("path", sorted(CORPUS.glob("stored-*")), ids=lambda path: path.name)
def test_what_was_found_is_refused(path):
    with pytest.raises(GatewiseError) as caught:
        fuzz.of_stored(path)
    assert "\n" not in str(caught.value)
