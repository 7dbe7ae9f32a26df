import pytest
import torch

from gatewise import GatewiseError, MixtureOfExperts, MLPBank
from gatewise.mixture import Gaussian, mlp
from gatewise.mixture.information import entropy, split_entropy


@pytest.fixture
def mixture():
    built = MixtureOfExperts(mlp(5, [8], 4), MLPBank(4, 5, [6], 3)).double()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.mul_(3)
    return built


@pytest.mark.parametrize(("route", "k"), [("mixture", 2), ("top1", 2), ("topk", 2), ("topk", 4)])
def test_the_parts_sum_to_the_entropy_of_the_prediction(mixture, route, k):
    x = torch.randn(200, 5, dtype=torch.float64)
    whole, expected, information = mixture.uncertainty(x, route, k)
    torch.testing.assert_close(expected + information, whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(whole, entropy(mixture.predict_proba(x, route, k)), rtol=0, atol=1e-12)
    assert float(information.max()) > 0.1 or route == "top1"
    assert not whole.requires_grad


def test_the_information_is_that_of_the_joint_distribution(mixture):
    x = torch.randn(50, 5, dtype=torch.float64)
    log_gate, log_experts = mixture.expert_log_probs(x)
    joint = (log_gate.unsqueeze(-1) + log_experts).exp()  # p(y,z|x)
    apart = joint.sum(1, keepdim=True) * joint.sum(2, keepdim=True)
    by_hand = (joint * (joint / apart).log()).sum((1, 2))
    torch.testing.assert_close(mixture.uncertainty(x).information, by_hand.detach())


def test_experts_that_agree_have_no_information_and_one_that_answers_alone_has_none():
    log_gate = torch.tensor([[0.3, 0.7], [1.0, 0.0]]).log()
    agreed = torch.tensor([[0.2, 0.8], [0.2, 0.8]]).log()
    apart = torch.tensor([[0.2, 0.8], [1.0, 0.0]]).log()
    whole, expected, information = split_entropy(log_gate, torch.stack([agreed, apart]))
    assert information.abs().max() < 1e-7
    torch.testing.assert_close(whole, expected)


def test_experts_that_are_sure_of_different_classes_have_nothing_else():
    certain = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]).log()
    whole, expected, information = split_entropy(torch.tensor([[0.5, 0.5]]).log(), certain)
    assert float(expected) == 0
    torch.testing.assert_close(whole, information)
    assert float(whole) == pytest.approx(0.693147, abs=1e-6)


def test_a_head_without_classes_has_no_entropy_to_split():
    numbers = MixtureOfExperts(mlp(5, [], 2), MLPBank(2, 5, [], 2), head=Gaussian())
    with pytest.raises(GatewiseError, match="has no classes"):
        numbers.uncertainty(torch.zeros(1, 5))
