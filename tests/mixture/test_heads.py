"""Heads: what the outputs mean."""

import math

import torch

import gatewise as gw
from gatewise.mixture import Categorical


def test_categorical_is_the_log_softmax():
    outputs, y = torch.randn(4, 2, 3), torch.tensor([[0, 2], [1, 1], [2, 0], [0, 0]])
    expected = outputs.log_softmax(-1)
    torch.testing.assert_close(Categorical().log_probs(outputs), expected)
    torch.testing.assert_close(Categorical().log_prob(outputs, y), expected.gather(-1, y.unsqueeze(-1)).squeeze(-1))


def test_categorical_widens_narrow_outputs():
    outputs = torch.randn(4, 3)
    for dtype, wide in (
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float64, torch.float64),
    ):
        assert Categorical().log_probs(outputs.to(dtype)).dtype == wide


def test_a_head_of_ones_own():
    """Regression: the outputs are means of unit Gaussians."""

    class Gaussian:
        def log_prob(self, outputs, y):
            return -0.5 * (outputs.squeeze(-1) - y).square() - 0.5 * math.log(2 * math.pi)

        def log_probs(self, outputs):
            raise NotImplementedError

    mixture = gw.MixtureOfExperts(torch.nn.Linear(2, 3), gw.MLPBank(3, 2, (), 1), head=Gaussian())
    x, y = torch.randn(5, 2), torch.randn(5)
    observed = mixture.observe(x, y)
    means = mixture.experts(x).squeeze(-1)
    expected = torch.distributions.Normal(means, 1.0).log_prob(y.unsqueeze(1))
    torch.testing.assert_close(observed.at_all(), expected)
    index = torch.tensor([[0, 2, 1, 0, 2]])
    torch.testing.assert_close(observed.at_index(index), expected.gather(1, index.T).T)
