"""A categorical VAE on the bundled digits: 6 latents of 8 categories, whose joint value makes an image.

The evidence bound is E_q log p(x|z) - KL(q(z|x) | uniform); `gw.expect(..., event_dims=1)` estimates the first part
with one joint value for all latents, by any estimator. Prints the negative bound in nats on the test images beside what
the best model without latents has, and how many nats the latents carry. About 10 seconds on one core.

    python examples/categorical_vae.py [--estimator reinmax] [--samples 1] [--steps 1500]
"""

import argparse
import math
import sys
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import gatewise as gw

LATENTS, CATEGORIES, PIXELS, HIDDEN = 6, 8, 64, 128


class VAE(nn.Module):
    """Images `[B, 64]` to L latents of K categories and back."""

    def __init__(self):
        super().__init__()
        codes = LATENTS * CATEGORIES
        self.encoder = nn.Sequential(
            nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, codes), nn.Unflatten(-1, (LATENTS, CATEGORIES))
        )
        self.decoder = nn.Sequential(nn.Linear(codes, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS))

    def log_likelihood(self, point: Tensor, x: Tensor) -> Tensor:
        """log p(x|z), `[S, B]`, at points `[S, B, L, K]`; grey values are the probabilities of a bright pixel."""
        pixels = self.decoder(point.flatten(-2))
        return -F.binary_cross_entropy_with_logits(pixels, x.expand_as(pixels), reduction="none").sum(-1)


def divergence(logits: Tensor) -> Tensor:
    """KL of q(z|x) from the uniform prior, `[B]`, in nats."""
    log_probs = logits.log_softmax(-1)
    return (log_probs.exp() * log_probs).sum((-2, -1)) + LATENTS * math.log(CATEGORIES)


class Found(NamedTuple):
    negative_bound: float
    without_latents: float
    carried: float


@torch.no_grad()
def judge(model: VAE, train: Tensor, test: Tensor, draws: int = 20) -> Found:
    """In nats an image; without latents the best are the mean pixels."""
    logits = model.encoder(test)
    estimate = gw.expect(
        lambda z: model.log_likelihood(z, test), logits, gw.estimators.get("score-function"), draws, event_dims=1
    )
    carried = divergence(logits)
    mean = train.mean(0).clamp(1e-4, 1 - 1e-4).expand_as(test)
    without = F.binary_cross_entropy(mean, test, reduction="none").sum(-1)
    return Found((carried - estimate.value).mean().item(), without.mean().item(), carried.mean().item())


def main(words: Sequence[str] | None = None) -> Found:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    apart = [name for name in gw.estimators.names() if not gw.estimators.get_fitting(name, CATEGORIES).joint]
    parser.add_argument("--estimator", default="reinmax", choices=apart)  # others would enumerate 8**6 outcomes
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1500)
    arguments = parser.parse_args(words)
    torch.manual_seed(0)
    images = torch.as_tensor(load_digits().data / 16, dtype=torch.float32)
    images = images[torch.randperm(len(images))]
    train, test = images[:1400], images[1400:]
    model, estimator = VAE(), gw.estimators.get_fitting(arguments.estimator, CATEGORIES)
    optimiser = torch.optim.Adam([*model.parameters(), *estimator.parameters()], lr=0.002)
    for step in range(arguments.steps):
        estimator.set_progress(step / arguments.steps)
        x = train[torch.randint(len(train), (100,))]
        logits = model.encoder(x)
        try:
            estimate = gw.expect(
                lambda z, x=x: model.log_likelihood(z, x), logits, estimator, arguments.samples, event_dims=1
            )
        except gw.GatewiseError as error:
            sys.exit(f"categorical_vae.py: {error}")
        loss = (divergence(logits) - estimate.value).mean()
        if estimate.control_loss is not None:  # trains what the estimator itself learns
            loss = loss + estimate.control_loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = judge(model, train, test)
    print(f"negative bound {found.negative_bound:.2f} nats, without latents {found.without_latents:.2f}")
    print(f"the latents carry {found.carried:.2f} of {LATENTS * math.log(CATEGORIES):.2f} nats")
    return found


if __name__ == "__main__":
    main()
