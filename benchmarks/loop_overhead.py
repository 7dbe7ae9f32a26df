"""What the training loop costs beside a bare hand-written PyTorch loop.

Both train the same model from the same weights over batches of the same size with the same loss, optimiser, clipping
and validation; the two are interleaved, and the ratio is taken of medians. Prints a table, writes
`results/loop_overhead.json`.

    python benchmarks/loop_overhead.py
"""

import argparse
import copy
import statistics
import time

import torch
import torch.nn.functional as F
from common import table, write_result

import gatewise as gw
from gatewise.config import LoopConfig
from gatewise.objectives import Load, regularisers
from gatewise.training import fit

CASES = {
    "small: 64 rows, 8 features, 4 experts": (512, 8, 2, 64, 30, 4, 128),
    "as digits": (1280, 64, 10, 64, 30, 8, 256),
    "as MNIST, 10,240 rows": (10_240, 784, 10, 256, 4, 8, 256),
}
"""Rows, features, classes, batch size (which divides the rows, so that both take the same steps), epochs, experts, and
their hidden units."""


def make(
    rows: int, features: int, classes: int, experts: int, hidden: int
) -> tuple[gw.MixtureOfExperts, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    gate = gw.mixture.mlp(features, [], experts)
    mixture = gw.MixtureOfExperts(gate, gw.MLPBank(experts, features, [hidden], classes, dropout=0.2))
    return mixture, torch.randn(rows, features), torch.randint(0, classes, (rows,))


def bare(mixture: gw.MixtureOfExperts, train, validation, epochs: int, batch_size: int, weight: float) -> None:
    """What a person would write by hand for the Jensen bound with a load-balance term."""
    x, y = train
    optimiser = torch.optim.AdamW(mixture.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    best, experts = float("inf"), mixture.num_experts
    for _ in range(epochs):
        mixture.train()
        for rows in torch.randperm(len(x)).split(batch_size):
            batch, target = x[rows], y[rows]
            logits = mixture.gate(batch)
            gate = logits.softmax(-1)
            log_probs = F.log_softmax(mixture.experts(batch), -1)
            likelihoods = log_probs.gather(-1, target.view(-1, 1, 1).expand(-1, experts, 1)).squeeze(-1)
            shares = F.one_hot(logits.argmax(-1), experts).float().mean(0)
            loss = -(gate * likelihoods).sum(-1).mean() + weight * (experts * (shares * gate.mean(0)).sum() - 1)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(mixture.parameters(), 1.0)
            optimiser.step()
        mixture.eval()
        with torch.no_grad():
            nll = F.nll_loss(mixture(validation[0]), validation[1]).item()
        if nll < best:
            best, weights = nll, copy.deepcopy(mixture.state_dict())
    mixture.load_state_dict(weights)


def ours(mixture: gw.MixtureOfExperts, train, validation, epochs: int, batch_size: int, weight: float) -> None:
    config = LoopConfig(epochs=epochs, batch_size=batch_size, patience=0, lr_schedule="constant")
    fit(mixture, gw.objectives.get("jensen"), train, validation, config, regularisers=regularisers({Load.name: weight}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    rows = []
    for name, (size, features, classes, batch_size, epochs, *experts) in CASES.items():
        mixture, x, y = make(size, features, classes, *experts)
        train, validation = (x, y), (x[: size // 10], y[: size // 10])
        seconds = {bare: [], ours: []}
        for _ in range(repeats):
            for way, taken in seconds.items():
                model = copy.deepcopy(mixture)
                started = time.perf_counter()
                way(model, train, validation, epochs, batch_size, 0.01)
                taken.append(time.perf_counter() - started)
        medians = {way: statistics.median(taken) for way, taken in seconds.items()}
        steps = epochs * (size // batch_size)
        rows.append(
            {
                "case": name,
                "bare ms/step": 1e3 * medians[bare] / steps,
                "gatewise ms/step": 1e3 * medians[ours] / steps,
                "ratio": medians[ours] / medians[bare],
                "ratio of minima": min(seconds[ours]) / min(seconds[bare]),
            }
        )
    print(table(rows))
    write_result("loop_overhead", rows)


if __name__ == "__main__":
    main()
