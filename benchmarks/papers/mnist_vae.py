"""A categorical VAE on MNIST (ReinMax: Liu et al. 2023, 2304.08612), with our estimators and the `reinmax` package.

The model and settings are those of mnist_vae/ in the authors' repository, LiyuanLucasLiu/ReinMax: encoder
784-512-256-(L·K), decoder (L·K)-256-512-784, ReLU; grey values in [0, 1] as they are, as targets of a Bernoulli
likelihood; KL to the uniform prior in closed form; batches of 100; 8 classes × 4 latents by Adam and 10 × 30 by RAdam,
both at 5e-4, ReinMax at temperature 1.3. f is the decoder's log-likelihood, one value for all latents
(`event_dims=1`). The other temperatures are 1, not searched. One draw a step, two for leave-one-out.

The authors train for 160 epochs; here it is 3 by default, for time, which ranks the estimators by how fast they learn
and says little about where they end (`--epochs 160 --seeds 1` takes about 9 hours on one core).

The package's `reinmax` stands in the same loop, with the same initial weights and batches. It is part of no requirement
of gatewise: run with an environment that has it (`.venv-bench/bin/python`), or its row says that it is not installed.

Prints the mean over seeds of the negative ELBO in nats at one draw of the latents, on all training and all test rows,
and its standard deviation between seeds; which estimator wins; and whether our ReinMax is not worse than the package's
by more than twice the standard error of the difference. Writes `results/mnist_vae.json` and the table in
docs/estimators.md. About 25 minutes on one core.

    .venv-bench/bin/python benchmarks/papers/mnist_vae.py [--epochs 160] [--seeds 3] [--sizes 8x4 10x30]
"""

import functools
import itertools
import math
import statistics
import sys
import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from shared import Way, control, data_file, parser, read, save, table
from torch import Tensor, nn

import gatewise as gw

try:
    from reinmax import reinmax

    WHY_NOT = ""
except ImportError as error:
    reinmax, WHY_NOT = None, str(error)

PACKAGE, OURS, BATCH, RATE = "reinmax-package", "reinmax", 100, 5e-4
WAYS = {
    "reinmax": Way("reinmax", {"temperature": 1.3}),
    "reinmax:rao-blackwell": Way("reinmax", {"temperature": 1.3, "variant": "rao-blackwell"}),
    "straight-through": Way("straight-through"),
    "straight-through-gumbel-softmax": Way("straight-through-gumbel-softmax"),
    "gumbel-rao": Way("gumbel-rao"),
    "gapped-straight-through": Way("gapped-straight-through"),
    "gumbel-softmax": Way("gumbel-softmax"),
    "score-function:leave-one-out": Way("score-function", {"baseline": "leave-one-out"}, 2),
}
COLUMNS = ("size", "estimator", "-ELBO train", "-ELBO test", "sd of train", "note")
SIZES = {"8x4": (8, 4, torch.optim.Adam), "10x30": (10, 30, torch.optim.RAdam)}


class VAE(nn.Module):
    """Images [B, 784] to L latents of K categories and back."""

    def __init__(self, categories: int, latents: int):
        super().__init__()
        widths = (784, 512, 256, latents * categories)
        self.encoder = nn.Sequential(*mlp(widths), nn.Unflatten(-1, (latents, categories)))
        self.decoder = nn.Sequential(*mlp(widths[::-1]))

    def log_likelihood(self, point: Tensor, images: Tensor) -> Tensor:
        """log p(x|z), `[S, B]`, at points `[S, B, L, K]`."""
        pixels = self.decoder(point.flatten(-2))
        return -F.binary_cross_entropy_with_logits(pixels, images.expand_as(pixels), reduction="none").sum(-1)


def mlp(widths: tuple[int, ...]) -> list[nn.Module]:
    """Linear layers with ReLU between them."""
    layers = [layer for pair in itertools.pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
    return layers[:-1]


def divergence(logits: Tensor) -> Tensor:
    """KL of softmax(logits) `[B, L, K]` from the uniform prior, `[B]`."""
    log_probs = logits.log_softmax(-1)
    return (log_probs.exp() * log_probs).sum((-2, -1)) + logits.shape[-2] * math.log(logits.shape[-1])


def train(label: str, size: str, seed: int, epochs: int, images: Tensor) -> VAE:
    """A VAE trained with one estimator; for a seed all start from the same weights and see the same batches."""
    categories, latents, optimiser_class = SIZES[size]
    torch.manual_seed(seed)
    model, order = VAE(categories, latents), torch.Generator().manual_seed(seed)
    estimator = None if label == PACKAGE else WAYS[label].make()
    optimiser = optimiser_class([*model.parameters(), *(estimator.parameters() if estimator else ())], lr=RATE)
    for _ in range(epochs):
        for rows in torch.randperm(len(images), generator=order).split(BATCH):
            batch = images[rows]
            logits = model.encoder(batch)
            if estimator is None:
                likelihood, learned = model.log_likelihood(reinmax(logits, 1.3)[0].unsqueeze(0), batch)[0], 0.0
            else:
                f = functools.partial(model.log_likelihood, images=batch)
                estimate = gw.expect(f, logits, estimator, WAYS[label].samples, event_dims=1)
                likelihood, learned = estimate.value, control(estimate)
            optimiser.zero_grad()
            ((divergence(logits) - likelihood).mean() + learned).backward()
            optimiser.step()
    return model


@torch.no_grad()
def negative_elbo(model: VAE, images: Tensor) -> float:
    """In nats, the mean over images, each at one draw of its latents."""
    torch.manual_seed(0)
    draw, total = gw.estimators.get("straight-through"), 0.0
    for batch in images.split(1000):
        logits = model.encoder(batch)
        point = gw.sample(logits, draw, 1)
        total += (divergence(logits) - model.log_likelihood(point, batch)[0]).sum().item()
    return total / len(images)


def measure(label: str, size: str, seeds: int, epochs: int, images: dict[str, Tensor]) -> dict[str, Any]:
    """A row of the table."""
    if label == PACKAGE and reinmax is None:
        return {"size": size, "estimator": label, "note": f"not installed: {WHY_NOT}"}
    started = time.perf_counter()
    models = [train(label, size, seed, epochs, images["train"]) for seed in range(seeds)]
    seconds = time.perf_counter() - started
    by_seed = {part: [negative_elbo(model, images[part]) for model in models] for part in images}
    means = {f"-ELBO {part}": statistics.mean(found) for part, found in by_seed.items()}
    spread = statistics.stdev(by_seed["train"]) if seeds > 1 else math.nan
    return {"size": size, "estimator": label, **means, "sd of train": spread, "seconds": seconds, "by seed": by_seed}


def compare(rows: list[dict[str, Any]]) -> str:
    """Which estimator won, and how ours compares with the package's."""
    found = {row["estimator"]: row for row in rows if "by seed" in row}
    size, best = rows[0]["size"], min(found, key=lambda label: found[label]["-ELBO train"])
    said = f"{size}: the lowest -ELBO on the training rows is that of {best}"
    if PACKAGE not in found or OURS not in found:
        return said
    ours, theirs = (found[label]["by seed"]["train"] for label in (OURS, PACKAGE))
    difference = statistics.mean(ours) - statistics.mean(theirs)
    error = math.hypot(found[OURS]["sd of train"], found[PACKAGE]["sd of train"]) / len(ours) ** 0.5
    fine = "yes" if difference <= 2 * error else "no"
    return f"{said}\n{size}: our ReinMax minus the package's: {difference:+.4f} ± {error:.4f} nats; not worse: {fine}"


def main() -> None:
    arguments = parser(__doc__, [*WAYS, PACKAGE], seeds=2)
    arguments.add_argument("--epochs", type=int, default=3)
    arguments.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    arguments.add_argument("--rows", type=int, default=60_000, help="of the training images")
    chosen, whole = read(arguments)
    with np.load(data_file("mnist.npz")) as mnist:
        images = {part: torch.from_numpy(mnist[f"x_{part}"]).flatten(1) / 255 for part in ("train", "test")}
    images["train"] = images["train"][: chosen.rows]
    rows, verdicts = [], []
    for size in chosen.sizes:
        of_size = []
        for label in chosen.estimators:
            of_size.append(measure(label, size, chosen.seeds, chosen.epochs, images))
            print(f"{size}, {label}: {of_size[-1].get('seconds', 0):.0f} s", file=sys.stderr, flush=True)
        rows += of_size
        verdicts.append(compare(of_size))
    shown = table([{key: row.get(key, "") for key in COLUMNS} for row in rows])
    said = [f"- {line}" for verdict in verdicts for line in verdict.splitlines()]
    save("mnist_vae", rows, "\n".join([shown, "", *said]), whole)


if __name__ == "__main__":
    main()
