"""What an audit's statistics keep to when there are very many repetitions."""

import pytest
import torch

from gatewise.diagnostics.intervals import moments


def test_more_repetitions_than_their_cube_has_room_for_in_64_bits():
    """2.8 million cubed is above 2**64. ±1 in turn: the mean is the exact 1 of the second number, the variance 1."""
    away = torch.tensor([[0.0, 1.0], [0.0, -1.0]]).repeat(1_400_000, 1)
    found = moments(away + torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0]))
    assert found.repetitions == 2_800_000
    assert found.trace == pytest.approx(1.0, abs=1e-6)
    assert found.trace_squared == pytest.approx(1.0, abs=1e-5)
