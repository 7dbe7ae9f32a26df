import math

import pytest
import torch

from gatewise.metrics.risk_coverage import COVERAGES, Selective
from gatewise.mixture.information import entropy


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(4)
    probs = (3 * torch.randn(997, 4, generator=generator)).softmax(-1)
    return probs, torch.rand(997, generator=generator) < probs.max(-1).values


def test_every_line_is_what_its_threshold_does_to_the_rows(rows):
    probs, right = rows
    tally = Selective(4)
    for part in (slice(0, 300), slice(300, None)):
        tally.update(probs[part], right[part])
    table = tally.table()
    assert [line["coverage"] for line in table] == list(COVERAGES)
    for line in table:
        threshold = math.inf if line["abstain_above"] is None else line["abstain_above"]
        kept = entropy(probs) <= threshold
        assert line["kept"] == pytest.approx(kept.double().mean().item())
        assert line["accuracy"] == pytest.approx(right[kept].double().mean().item())
        assert line["coverage"] <= line["kept"] < line["coverage"] + 0.02
    assert table[-1] == {"coverage": 1.0, "kept": 1.0, "abstain_above": None, "accuracy": right.double().mean().item()}
    assert table[0]["accuracy"] > table[-1]["accuracy"] + 0.1


def test_rows_that_are_all_alike_are_kept_together_and_certain_ones_count():
    tally = Selective(3)
    tally.update(torch.full((5, 3), 1 / 3), torch.tensor([True, False, False, False, False]))
    assert [(line["kept"], line["abstain_above"]) for line in tally.table()] == [(1.0, None)] * 5
    certain = torch.tensor([[1.0, 0.0, 0.0]]).expand(15, 3)
    tally.update(certain, torch.ones(15, dtype=torch.bool))
    first = tally.table()[0]
    assert (first["kept"], first["accuracy"]) == (0.75, 1.0)
    assert first["abstain_above"] < 1e-8
