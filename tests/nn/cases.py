"""Small layers: every router, with one expert a token and with several."""

import torch
from torch import nn

import gatewise as gw
from tests.chance import seeded

FEATURES, OUTPUTS, EXPERTS = 4, 3, 5

CASES = [
    (name, k) for name in gw.nn.routers.names() for k in ((1, 2) if "k" in gw.nn.routers.options(name) else (1,))
] + [("softmax", EXPERTS)]
"""(router, k)."""


def tokens(*shape, dtype=torch.float64, seed=1):
    return torch.randn(*shape, FEATURES, generator=seeded(seed), dtype=torch.float64).to(dtype)


def layer_of(router="softmax", k=1, dtype=torch.float64, **options):
    torch.manual_seed(3)
    options = {"experts": EXPERTS, "hidden": 6, "out_features": OUTPUTS} | options
    layer = gw.nn.MoELayer(FEATURES, router=router, k=k, **options)
    with torch.no_grad():
        layer.router.weight.mul_(3)  # a router that has an opinion
        if isinstance(layer.experts, gw.MLPBank):
            for bias in layer.experts.biases:  # they start at 0, where a forgotten bias goes unseen
                nn.init.uniform_(bias, -1, 1)
    return layer.to(dtype)


def gradients(value, layer, *others):
    """The gradients of a scalar for all parameters and others, 0 where there is none."""
    leaves = [*layer.parameters(), *others]
    found = torch.autograd.grad(value, leaves, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, found, strict=True)]
