"""Convolutional experts."""

import pytest
import torch

import gatewise as gw
from gatewise.mixture import ConvExpert


@pytest.mark.parametrize("shape", [(8, 8), (3, 8, 8), (1, 5, 7), (28, 28)], ids=str)
def test_conv_expert_on_images(shape):
    expert = ConvExpert(shape, 10, channels=2, dropout=0.1)
    x = torch.randn(4, *shape)
    expert(x).sum().backward()
    assert expert(x).shape == (4, 10)
    assert all(p.grad is not None for p in expert.parameters())


@pytest.mark.parametrize("shape", [(64,), (3, 8), (8, 3), (1, 1, 8, 8)], ids=str)
def test_conv_expert_refuses_what_is_no_image(shape):
    with pytest.raises(gw.GatewiseError, match=r"needs images.*use expert = 'mlp'"):
        ConvExpert(shape, 10)
