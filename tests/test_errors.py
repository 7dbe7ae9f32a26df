"""Checks of arguments: what is taken, and the one line for what is not."""

import math
from typing import Any

import numpy as np
import pytest

from gatewise.errors import GatewiseError, check_choice, check_interval


@pytest.mark.parametrize(
    ("value", "interval", "whole"),
    [
        (0, "[0, 1)", False),
        (0.999, "[0, 1)", False),
        (1, "(0, 1]", False),
        (np.float32(0.5), "(0, 1)", False),
        (np.int64(3), "[1, 8]", True),
        (1e300, "(0, inf)", False),
        (-5, "(-inf, inf)", True),
    ],
)
def test_what_lies_in_the_interval_is_taken(value: Any, interval: str, whole: bool) -> None:
    check_interval(value, interval, "x", whole=whole)


@pytest.mark.parametrize(
    ("value", "interval", "whole", "said"),
    [
        (1, "[0, 1)", False, r"x must be a number in \[0, 1\), got 1; mend it"),
        (0, "(0, 1]", False, r"x must be a number in \(0, 1\], got 0; mend it"),
        (0, "(0, inf)", False, "x must be a number above 0, got 0; mend it"),
        (math.inf, "[0, inf)", False, "x must be a number of at least 0, got inf; mend it"),
        (math.nan, "(-inf, inf)", False, "x must be a number, got nan; mend it"),
        ("1", "[0, 2]", False, r"x must be a number in \[0, 2\], got '1'; mend it"),
        (True, "[0, 2]", False, r"x must be a number in \[0, 2\], got True; mend it"),
        (2.0, "[1, inf)", True, "x must be a whole number of at least 1, got 2.0; mend it"),
        (None, "[1, 8]", True, r"x must be a whole number in \[1, 8\], got None; mend it"),
    ],
)
def test_what_does_not_is_refused_in_one_line(value: Any, interval: str, whole: bool, said: str) -> None:
    with pytest.raises(GatewiseError, match=f"^{said}$"):
        check_interval(value, interval, "x", "mend it", whole)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    check_choice("softmax", ("softmax", "sparsemax"), "map")
    with pytest.raises(GatewiseError, match=r"^unknown map 'sparsmax'; did you mean 'sparsemax'\?$"):
        check_choice("sparsmax", ("softmax", "sparsemax"), "map")
    with pytest.raises(GatewiseError, match=r"^unknown map 3; choose one of softmax, sparsemax$"):
        check_choice(3, ("softmax", "sparsemax"), "map")
