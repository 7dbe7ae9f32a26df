"""The short form of `python -m tests.faults.interruptions`: no pictures, and a few steps of what is most."""

import pytest

from gatewise.config import RunConfig

from .interruptions import CASES, FEW, differing, ended, interrupted, no_pictures, staged, whole

BRIEF = {"warm_start": "none", "epochs": 3, "starts": 2, "audit_every": 1}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What comes of it without a break: its configuration, its files, its steps, and the folder that is theirs."""
    config = RunConfig(**{**FEW, **CASES["everything"], **BRIEF})
    run = tmp_path_factory.mktemp("interruptions") / "run"
    with staged(), no_pictures():
        yield config, *whole(config, run), run


def test_whichever_step_it_is_interrupted_after_the_files_are_the_same(expected):
    config, files, steps, run = expected
    assert steps == 8  # two of each start, and four of the one that goes on
    assert len(files["audits.jsonl"]) == len(files["metrics.jsonl"]) == 3
    for step in range(1, steps + 1):
        assert differing(interrupted(config, run, step), files) == [], step


# a step after the choice between the starts, gone on with from before it; the end of an epoch, once told and once not
@pytest.mark.parametrize(("step", "since", "in_epoch"), [(5, 2, False), (4, 0, True), (6, 1, True), (8, 0, True)])
def test_what_is_gone_without_a_word_comes_out_the_same(expected, step, since, in_epoch):
    config, files, _, run = expected
    assert differing(ended(config, run, step, since, in_epoch), files) == []
