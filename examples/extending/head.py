"""A head of your own, with its test: positive targets, such as durations, by a log-normal distribution.

python -m pytest examples/extending/head.py
"""

import torch
import torch.nn.functional as F
from torch import distributions

import gatewise as gw


class LogNormal(gw.mixture.DistributionHead):
    """log y ~ N(o_1, (softplus(o_2) + 0.001)²)."""

    outputs = 2

    def distribution(self, outputs):
        location, raw = outputs.unbind(-1)
        return distributions.LogNormal(location, F.softplus(raw) + 1e-3, validate_args=False)

    def check(self, y):
        if y.min() <= 0:
            raise gw.GatewiseError(f"y must hold numbers above 0, got {float(y.min()):g}")


def test_a_mixture_learns_with_it():
    torch.manual_seed(0)
    x = torch.randn(256, 1)
    y = torch.where(x[:, 0] > 0, 2.0, -1.0).add(0.1 * torch.randn(256)).exp()
    mixture = gw.MixtureOfExperts(torch.nn.Linear(1, 2), gw.MLPBank(2, 1, [], 2), head=LogNormal())
    optimiser, before = torch.optim.Adam(mixture.parameters(), lr=0.05), mixture.log_prob(x, y).mean().item()
    for _ in range(200):
        optimiser.zero_grad()
        (-gw.objectives.get("marginal")(mixture.observe(x, y)).value.mean()).backward()
        optimiser.step()
    assert mixture.log_prob(x, y).mean().item() > before + 0.5
