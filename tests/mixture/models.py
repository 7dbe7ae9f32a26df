"""Small mixtures: a bank and the list of the very same experts, and experts that count what they are given."""

import torch
from torch import nn

import gatewise as gw
from gatewise.mixture import MLPBank
from tests.chance import seeded

ROWS, FEATURES, CLASSES, EXPERTS = 7, 4, 3, 5


def data(dtype=torch.float64, rows=ROWS):
    x = torch.randn(rows, FEATURES, generator=seeded(1), dtype=torch.float64).to(dtype)
    return x, torch.randint(CLASSES, (rows,), generator=seeded(2))


def bank_mixture(dtype=torch.float64, hidden=(6,), experts=EXPERTS, dropout=0.0, **options):
    torch.manual_seed(3)
    bank = MLPBank(experts, FEATURES, hidden, CLASSES, dropout)
    for bias in bank.biases:  # they start at 0, where a forgotten bias goes unseen
        nn.init.uniform_(bias, -1, 1)
    return gw.MixtureOfExperts(nn.Linear(FEATURES, experts), bank, **options).to(dtype)


def list_mixture(bank: gw.MixtureOfExperts) -> gw.MixtureOfExperts:
    """The same gate, and each expert of the bank as a module of its own."""
    return gw.MixtureOfExperts(bank.gate, [bank.experts.expert(k) for k in range(bank.num_experts)], trunk=bank.trunk)


class Counting(nn.Module):
    """A linear expert that keeps the rows it saw."""

    def __init__(self, out_features=CLASSES):
        super().__init__()
        self.linear = nn.Linear(FEATURES, out_features, dtype=torch.float64)
        self.seen: list[torch.Tensor] = []

    def forward(self, x):
        self.seen.append(x.detach())
        return self.linear(x)

    @property
    def rows(self) -> int:
        return sum(len(x) for x in self.seen)


def counting_mixture(experts=EXPERTS):
    torch.manual_seed(3)
    gate = nn.Linear(FEATURES, experts, dtype=torch.float64)
    return gw.MixtureOfExperts(gate, [Counting() for _ in range(experts)])
