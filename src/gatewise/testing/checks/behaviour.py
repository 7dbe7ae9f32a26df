"""Checks of randomness, state and schedules, over several calls."""

import torch

from gatewise.testing.subject import Subject, check


@check
def a_seed_decides_everything(subject: Subject) -> None:
    """The same seed gives the same value and gradient, another seed others, but where nothing is drawn."""
    for event_dims in subject.event_dims():
        first, again, other = (subject.run((64,), event_dims, seed=seed) for seed in (1, 1, 2))
        fixed = subject.is_deterministic()
        wanted = "the same, as info has no index and no point" if fixed else "another one"
        for what in ("value", "logits' gradient"):
            one, same, differs = (run.parts()[what] for run in (first, again, other))
            subject.require_equal(same, one, f"the {what} of the same seed")
            subject.require(torch.equal(one, differs) == fixed, f"the {what} of another seed", wanted, differs)


@check
def a_generator_is_the_only_source(subject: Subject) -> None:
    """With a generator given, torch's own stands where it was."""
    before = torch.get_rng_state()
    subject.run(seed=3)
    untouched = torch.equal(before, torch.get_rng_state())
    subject.require(untouched, "torch's own generator, with another given", "untouched", "moved on")


@check
def torchs_generator_is_used_without_one(subject: Subject) -> None:
    """Without a generator `torch.manual_seed` decides."""
    torch.default_generator.manual_seed(11)
    first = subject.run((64,), seed=None).value
    torch.default_generator.manual_seed(11)
    again, other = (subject.run((64,), seed=None).value for _ in range(2))
    subject.require_equal(again, first, "the value of the same torch.manual_seed")
    same = torch.equal(first, other) == subject.is_deterministic()
    subject.require(same, "the value drawn next from torch's own generator", "another one", other)


@check
def state_is_saved_and_restored(subject: Subject) -> None:
    """What was learned is in the state dict: loaded into a copy, it gives the same gradient."""
    first, second = subject.warmed_up(dtype=torch.float32), subject.make()
    second.load_state_dict(first.state_dict())
    wanted, found = (subject.run(estimator=estimator).gradients()[0] for estimator in (first, second))
    subject.require_equal(found, wanted, "the gradient after load_state_dict")


@check
def schedules_and_statistics_move(subject: Subject) -> None:
    """Every estimator takes `set_progress` and `commit`."""
    estimator = subject.make()
    for progress in (0.0, 0.5, 1.0):
        estimator.set_progress(progress)
        estimator.commit()
    subject.require_finite(subject.run(estimator=estimator).value, "the value at the end of the schedule")
