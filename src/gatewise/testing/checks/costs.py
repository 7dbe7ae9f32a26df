"""Checks of the evaluations of f: in which form they are asked for, and that they are counted."""

import torch
from torch import Tensor

from gatewise.expectation import by_index
from gatewise.testing.subject import Subject, check, check_only
from gatewise.testing.toy import toy_weights

BATCH = 40


@check
def calls_are_as_stated(subject: Subject) -> None:
    """It asks f in the forms that `calls` names, and in all of them."""
    for event_dims in subject.event_dims():
        asked = subject.run(event_dims=event_dims).toy.calls
        subject.require(asked == subject.estimator.calls, "what f is asked for", set(subject.estimator.calls), asked)


@check
def evaluations_are_counted_and_bounded(subject: Subject) -> None:
    """`info.evaluations` is the distinct categories asked for, all K at a point, within `evaluations(S, K)`."""
    for num_samples in subject.counts(8):
        run = subject.run((2, BATCH), num_samples=num_samples)
        made, bound = run.estimate.info.evaluations, run.estimator.evaluations(num_samples, subject.num_categories)
        where = f"with num_samples={num_samples}"
        subject.require(made.max() <= bound, f"info.evaluations {where}", f"at most {bound}", made.max())
        wanted = torch.full((2, BATCH), subject.num_categories)
        if run.toy.calls == {"index"}:  # each example's distinct categories, in all calls together
            columns = torch.cat([index.flatten(1) for index in run.toy.asked]).T.tolist()
            wanted = torch.tensor([len(set(column) - {-1}) for column in columns]).view(2, BATCH)
        subject.require_equal(made, wanted, f"info.evaluations {where}")


@check_only("estimators that ask for categories alone", lambda subject: subject.estimator.calls == {"index"})
def each_pair_is_asked_once(subject: Subject) -> None:
    """Each distinct (example, category) is evaluated once, over all calls of f, and counted once."""
    table, num_samples = toy_weights(subject.num_categories), subject.counts(8)[-1]
    for event_dims in subject.event_dims():
        seen: list[Tensor] = []

        def f(index: Tensor, seen: list[Tensor] = seen, event_dims: int = event_dims) -> Tensor:
            seen.append(index.clone())
            return table[index].sum(-1) if event_dims else table[index]

        logits = subject.logits((BATCH,), event_dims)
        made = subject.expect(by_index(f), logits, num_samples=num_samples, event_dims=event_dims).info.evaluations
        asked = torch.cat(seen).view(-1, BATCH, 2 if event_dims else 1)
        for example in range(BATCH):
            named = [tuple(outcome) for outcome in asked[:, example].tolist() if -1 not in outcome]
            once = len(set(named))
            subject.require(len(named) == once, "how often f is run for one example's categories", once, len(named))
            subject.require(made[example] == once, "info.evaluations of one example", once, made[example])
