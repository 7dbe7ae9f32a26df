"""Several processes give what one gives: in loss and weights, to float32 rounding.

Two processes and few steps; `make processes` takes 50 steps, with two and with four.
"""

import re

import pytest
import torch

from gatewise.distributed import ALONE
from gatewise.training.checkpoints.folder import Checkpoints

from .work import CASES, PROCESSES, interrupted, passed_over, stored, streamed, together, trained, validated

CLOSE = 5e-6
"""One row's part left out, counted twice or seen with another row's noise moves weights by more than 1e-3."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the checkpoint of the processes lies, after 7 steps."""
    return tmp_path_factory.mktemp("several") / "checkpoints"


@pytest.fixture(scope="module")
def several(folder):
    stored(folder.parent / "table")
    return together(PROCESSES, [*CASES], folder)


@pytest.mark.parametrize("case", CASES)
def test_several_processes_give_what_one_gives(case, several):
    expected = trained(CASES[case], ALONE)
    for _, of_cases, *_ in several:
        found = of_cases[case]
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            other = torch.from_numpy(found[name])
            torch.testing.assert_close(other, value, rtol=CLOSE, atol=CLOSE, msg=f"{case}: {name}")


def test_the_processes_have_the_same_weights_to_the_bit(several):
    (_, first, *_), *others = several
    for _, other, *_ in others:
        for case, tensors in first.items():
            for name, value in tensors.items():
                assert (value == other[case][name]).all(), f"{case}: {name}"


def assert_lines_close(found, expected):
    for line, other in zip(found, expected, strict=True):
        assert line.keys() == other.keys()
        for name, value in other.items():
            assert line[name] == (None if value is None else pytest.approx(value, rel=1e-4, abs=1e-6)), name


def test_validation_and_starts_are_those_of_one(several):
    history, starts = validated(ALONE)
    assert len({*starts}) == 2
    for _, _, (lines, scores), *_ in several:
        assert (lines, scores) == several[0][2]
        assert_lines_close(lines, history)
        assert scores == pytest.approx(starts, rel=1e-5)


def test_stops_and_errors_are_agreed(several):
    for _, _, _, stop, error, *_ in several:
        assert stop == 7
        assert error == "the disk of the second is full"


def test_a_batch_that_is_not_finite_is_passed_over_by_all(several):
    history, warnings = passed_over(ALONE)
    assert [line["train_skipped"] for line in history] == [1, 1]
    of_rows = re.compile(r"\(1 of \d+ rows of the batch\)")
    for *_, (lines, said), _, _ in several:
        assert said == several[0][-3][1]
        assert [of_rows.sub("", each) for each in said] == [of_rows.sub("", each) for each in warnings]
        assert_lines_close(lines, history)


def test_a_loss_that_is_not_finite_on_one_is_refused_by_all(several):
    for *_, found, _ in several:
        assert found == ("the regulariser charged is nan", True)


def test_rows_that_are_streamed_are_those_of_one(several, folder):
    history, weights = streamed(folder.parent / "table", ALONE)
    for *_, (lines, found) in several:
        assert lines == several[0][-1][0]
        assert_lines_close(lines, history)
        for name, value in weights.items():
            torch.testing.assert_close(torch.from_numpy(found[name]), torch.from_numpy(value), rtol=CLOSE, atol=CLOSE)


def test_one_goes_on_from_the_checkpoint_of_several(several, folder, tmp_path):
    """Stopped in the second start: what the first came to is in the checkpoint."""
    checkpoint, _ = Checkpoints(folder).latest()
    assert (checkpoint.step, len(checkpoint.state["scores"])) == (2, 1)
    expected, found = (interrupted(Checkpoints(place), ALONE) for place in (tmp_path / "one", folder))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=CLOSE, atol=CLOSE)
