"""A masked expert may answer anything: predictions are those of the mixture without it."""

import pytest
import torch
from torch import nn

import gatewise as gw
from gatewise.metrics import evaluate
from gatewise.mixture import MLPBank
from tests.mixture.models import CLASSES, EXPERTS, FEATURES, ROWS, data
from tests.objectives.cases import Masking

MASKED = 1


class Answering(nn.Module):
    """An expert that answers the same number everywhere, with a parameter in its graph."""

    def __init__(self, number, outputs):
        super().__init__()
        self.outputs = outputs
        self.number = nn.Parameter(torch.tensor(number, dtype=torch.float64))
        self.rows = 0

    def forward(self, x):
        self.rows += len(x)
        return (x[:, :1] * 0 + self.number).expand(-1, self.outputs)


def mixtures(number, head=None, outputs=CLASSES):
    """One with an expert that is masked and broken, and the same without it."""
    torch.manual_seed(3)
    gate = nn.Linear(FEATURES, EXPERTS, dtype=torch.float64)
    members = [nn.Linear(FEATURES, outputs, dtype=torch.float64) for _ in range(EXPERTS)]
    members[MASKED] = Answering(number, outputs)
    others = [k for k in range(EXPERTS) if k != MASKED]
    small = nn.Linear(FEATURES, EXPERTS - 1, dtype=torch.float64)
    with torch.no_grad():
        small.weight.copy_(gate.weight[others])
        small.bias.copy_(gate.bias[others])
    kept = [members[k] for k in others]
    return gw.MixtureOfExperts(Masking(gate, [MASKED]), members, head=head), gw.MixtureOfExperts(small, kept, head=head)


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
def test_predictions_and_figures_are_those_of_the_others(number):
    (masked, without), (x, y) = mixtures(number), data()
    for route, k in (("mixture", 1), ("top1", 1), ("topk", 2), ("topk", EXPERTS - 1)):
        found, right = masked.predict_proba(x, route, k), without.predict_proba(x, route, k)
        torch.testing.assert_close(found, right)
        for one, other in zip(masked.uncertainty(x, route, k), without.uncertainty(x, route, k), strict=True):
            torch.testing.assert_close(one, other)
    torch.testing.assert_close(masked.predict_proba(x, "topk", EXPERTS), without.predict_proba(x))
    torch.testing.assert_close(masked(x), without(x))
    found, right = (evaluate(mixture, x, y, CLASSES).result() for mixture in (masked, without))
    assert found.nll == pytest.approx(right.nll)
    assert found.jensen == pytest.approx(right.jensen)


def test_means_are_those_of_the_others():
    (masked, without), (x, _) = mixtures(torch.nan, gw.mixture.Gaussian(), outputs=2), data()
    for route, k in (("mixture", 1), ("top1", 1), ("topk", EXPERTS)):
        torch.testing.assert_close(
            masked.predict_mean(x, route, k), without.predict_mean(x, route, min(k, EXPERTS - 1))
        )


@pytest.mark.parametrize("asked", ["at_all", "at_point", "log_joint", "log_posterior", "log_prob"])
def test_a_masked_expert_is_not_run(asked):
    """Nor has it, or what lies before it, a gradient that is no number."""
    (masked, without), (x, y) = mixtures(torch.nan), data()
    masked.trunk = nn.Linear(FEATURES, FEATURES, dtype=torch.float64)
    without.trunk = masked.trunk
    values = []
    for mixture in (masked, without):
        observed = mixture.observe(x, y)
        arguments = [observed.logits.softmax(-1).unsqueeze(0)] if asked == "at_point" else []
        found = getattr(observed, asked)(*arguments)
        others = [k for k in range(found.shape[-1]) if mixture is without or k != MASKED]
        values.append(found[..., others] if asked in ("at_all", "log_joint", "log_posterior") else found)
    torch.testing.assert_close(values[0], values[1])
    assert masked.experts.members[MASKED].rows == 0
    gradients = torch.autograd.grad(values[0].sum(), list(masked.trunk.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_experts_with_batch_normalisation_see_the_whole_batch_behind_a_mask_too():
    (masked, _), (x, y) = mixtures(0.0), data()
    masked.experts.members[0] = nn.Sequential(masked.experts.members[0], nn.BatchNorm1d(CLASSES, dtype=torch.float64))
    masked.train()
    observed = masked.observe(x, y)
    assert observed.log_prob().isfinite().all()
    assert masked.experts.members[MASKED].rows == ROWS
    assert observed.evaluations().tolist() == [EXPERTS] * ROWS


def test_a_bank_answers_alike_with_and_without_a_mask():
    torch.manual_seed(0)
    bank = MLPBank(EXPERTS, FEATURES, [6], CLASSES).double()
    gate = nn.Linear(FEATURES, EXPERTS, dtype=torch.float64)
    (x, y), mixture = data(), gw.MixtureOfExperts(gate, bank)
    whole = mixture.observe(x, y).at_all()
    mixture.gate = Masking(gate, [0, MASKED])
    found = mixture.observe(x, y).at_all()
    torch.testing.assert_close(found[:, 2:], whole[:, 2:])
    assert (found[:, :2] == 0).all()
