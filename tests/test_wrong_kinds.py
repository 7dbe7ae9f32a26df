"""Arguments of the wrong kind are refused in one line that says how to make what is wanted."""

import pytest
import torch
from torch import nn

import gatewise as gw


class Bare(gw.estimators.GradientEstimator):
    """States nothing."""


def f(point):
    return (point * torch.tensor([1.0, 3.0])).sum(-1)


LOGITS = torch.zeros(2, 2)
ROWS = torch.zeros(4, 3), torch.tensor([0, 1, 0, 1])

CALLS = {
    "a dict to train": (lambda: gw.training.train({"data": "iris"}), "config must be a RunConfig, got dict"),
    "a text to train": (lambda: gw.training.train("iris"), "gw.training.load_config"),
    "a dict to compare": (lambda: gw.comparison.compare({"data": "iris"}), "base must be a RunConfig, got dict"),
    "a network to fit": (
        lambda: gw.training.fit(nn.Linear(3, 2), gw.objectives.get("marginal"), ROWS, ROWS),
        "mixture must be a MixtureOfExperts, got Linear",
    ),
    "an estimator that states nothing": (lambda: gw.expect(f, LOGITS, Bare()), "Bare does not state its `calls`"),
    "a class": (lambda: gw.expect(f, LOGITS, gw.estimators.Enumeration), "Enumeration is a class; make one of it"),
    "one that states nothing, audited": (lambda: gw.audit(f, LOGITS, [Bare()]), "Bare does not state its `calls`"),
    "its own, without samples": (lambda: gw.audit(f, LOGITS, own=Bare()), "own must be an estimator and its number"),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_of_the_wrong_kind(name):
    call, said = CALLS[name]
    with pytest.raises(gw.GatewiseError) as caught:
        call()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
