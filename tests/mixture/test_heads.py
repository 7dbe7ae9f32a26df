"""Heads: what the outputs mean."""

import math

import pytest
import torch

import gatewise as gw
from gatewise.mixture import Categorical
from tests.chance import seeded


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


def test_a_class_of_probability_nearly_one_keeps_its_digits():
    """log p = -log(1 + e^-30) = -9.36e-14 and its slopes, where the softmax has 1 and 0."""
    logits = torch.tensor([30.0, 0.0], requires_grad=True)
    value = Categorical().log_prob(logits, torch.tensor(0))
    (slope,) = torch.autograd.grad(value, logits)
    right = math.exp(-30)
    torch.testing.assert_close(value.item(), -right, rtol=1e-5, atol=0)
    torch.testing.assert_close(slope, torch.tensor([right, -right]), rtol=1e-5, atol=0)


def test_a_class_that_is_masked():
    logits = torch.tensor([1.0, -torch.inf, 2.0], requires_grad=True)
    found = Categorical().log_probs(logits)
    torch.testing.assert_close(found, logits.log_softmax(-1))
    (slope,) = torch.autograd.grad(found[0], logits)
    torch.testing.assert_close(slope, torch.autograd.grad(logits.log_softmax(-1)[0], logits)[0])


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own, when it first goes forward
def test_classes_can_be_differentiated_twice_and_under_vmap():
    logits = torch.randn(4, 3, generator=seeded(1), dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0, 1, 2, 0])
    assert torch.autograd.gradcheck(Categorical().log_probs, logits)
    assert torch.autograd.gradgradcheck(Categorical().log_probs, logits)
    right = torch.autograd.grad(logits.log_softmax(-1).gather(-1, y[:, None]).sum(), logits)[0]
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(Categorical().log_prob))(logits, y), right)
    probs = logits.detach().softmax(-1)
    curvature = probs.unsqueeze(-1) * probs.unsqueeze(-2) - probs.diag_embed()
    hessian = torch.func.vmap(torch.func.hessian(Categorical().log_prob))(logits.detach(), y)  # forward over backward
    torch.testing.assert_close(hessian, curvature)


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (torch.tensor([0, 3]), "y must hold classes from 0 to 2, got 0 to 3"),
        (torch.tensor([-1, 2]), "y must hold classes from 0 to 2, got -1 to 2"),
        (torch.tensor([0.0, 1.0]), r"classes as integers 0 to 2, got torch.float32; use .long\(\)"),
    ],
)
def test_classes_that_are_none(y, said, monkeypatch):
    with pytest.raises(gw.GatewiseError, match=said):
        Categorical().log_prob(torch.zeros(2, 3), y)
    if not y.is_floating_point():  # as on an accelerator, where nobody waits for a look
        monkeypatch.setattr("gatewise.mixture.heads.can_look", lambda y: False)
        found = Categorical().log_prob(torch.zeros(2, 3), y)
        assert (found == -math.inf).tolist() == ((y < 0) | (y > 2)).tolist()


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
