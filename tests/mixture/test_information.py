"""What a gate does with its experts."""

import math

import pytest
import torch

from gatewise.mixture.information import effective_experts, entropy, experts_used, mutual_information


def test_entropy_at_known_places():
    probs = torch.tensor([[0.25] * 4, [1.0, 0, 0, 0], [0.5, 0.5, 0, 0]])
    torch.testing.assert_close(entropy(probs), torch.tensor([math.log(4), 0.0, math.log(2)]))


def test_entropy_has_a_finite_gradient_at_zero():
    probs = torch.tensor([0.5, 0.5, 0.0], requires_grad=True)
    entropy(probs).backward()
    torch.testing.assert_close(probs.grad, torch.tensor([math.log(2) - 1, math.log(2) - 1, 0.0]))


def test_mutual_information_of_a_gate_that_looks_and_of_one_that_does_not():
    mean, certain = torch.full((4,), 0.25), torch.tensor(0.0)
    assert mutual_information(mean, certain).item() == pytest.approx(math.log(4))
    assert mutual_information(mean, entropy(mean)).item() == 0.0
    assert mutual_information(mean, entropy(mean) + 1e-6).item() == 0.0


def test_effective_experts_from_one_to_all():
    assert effective_experts(torch.full((8,), 0.125)).item() == pytest.approx(8)
    assert effective_experts(torch.tensor([1.0, 0.0])).item() == pytest.approx(1)


def test_experts_used_are_those_with_a_tenth_of_their_share():
    counts = torch.tensor([975, 25, 24, 0])
    assert experts_used(counts).item() == 1
    assert experts_used(torch.tensor([975, 25, 0, 0])).item() == 2
    assert experts_used(torch.tensor([250, 250, 250, 250])).item() == 4
