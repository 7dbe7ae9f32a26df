"""The estimators under test, and the function they are tested on.

A newly registered estimator is tested with its default options; to test more of its options add them to `VARIANTS`.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import gatewise as gw
from gatewise.estimators import GradientEstimator, PointEstimator
from gatewise.expectation import joint_outcomes

CONTEXT_DIM = 3

WITH_BASELINE: list[dict[str, Any]] = [
    {"baseline": "none"},
    {"baseline": "running-mean"},
    {"baseline": "leave-one-out"},
    {"baseline": "learned"},
    {"baseline": "learned", "context_dim": CONTEXT_DIM},
]

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "score-function": WITH_BASELINE,
    "selected-relaxation": [*WITH_BASELINE, {"temperature": 0.3, "scale": 2.0}],
    "gumbel-softmax": [{}, {"temperature": "exponential:0.5:0.1"}],
    "straight-through-gumbel-softmax": [{}, {"temperature": 0.3}],
}


@dataclass(frozen=True)
class Case:
    """A registered estimator with options."""

    name: str
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return ",".join([self.name, *(f"{key}={value}" for key, value in self.options.items())])

    def make(self) -> GradientEstimator:
        """A new one, the same each time, leaving torch's own generator as it was."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return gw.estimators.get(self.name, **self.options)

    def counts(self, most: int) -> list[int]:
        """The sample counts from 1 to `most` that it takes."""
        taken = self.make().sample_counts
        return [count for count in range(1, most + 1) if count in taken]


CASES = [Case(name, options) for name in gw.estimators.names() for options in VARIANTS.get(name, [{}])]
INDEX_CASES = [case for case in CASES if case.make().calls == {"index"}]
POINT_CASES = [case for case in CASES if isinstance(case.make(), PointEstimator)]

LOGITS = torch.tensor([0.3, -0.5, 1.1, 0.0, 0.4], dtype=torch.float64)
WEIGHTS = torch.tensor([-1.2, 0.3, 0.9, 2.0, -0.4], dtype=torch.float64)


class Toy:
    """f(p) = sin h + h² / 2 with h = ⟨p, w⟩, summed over latents: smooth, not linear, and not additive over latents.

    With `log_probs` [K] it is ℓ_z + a log π_z: f then contains the logits as well. It records what it is asked.

    Args:
        weights: w, `[K]` or `[*batch, K]`.
        batch: the batch shape.
        event_dims: see `gatewise.expect`.
        log_probs: log π, shaped as the logits, for the second term.
    """

    def __init__(self, weights: Tensor, batch: tuple[int, ...] = (), event_dims: int = 0, log_probs=None):
        self.weights, self.batch, self.event_dims, self.log_probs = weights, batch, event_dims, log_probs
        self.num_categories = weights.shape[-1]
        self.calls: set[str] = set()
        self.asked: list[Tensor] = []

    def of_point(self, point: Tensor) -> Tensor:
        h = (point * self.weights).sum(-1)
        if self.event_dims:
            h = h.sum(-1)
        value = h.sin() + h.square() / 2
        if self.log_probs is not None:
            direct = 0.7 * torch.where(point > 0, point * self.log_probs, 0.0).sum(-1)
            value = value + (direct.sum(-1) if self.event_dims else direct)
        return value

    def of_index(self, index: Tensor) -> Tensor:
        return self.of_point(F.one_hot(index, self.num_categories).to(self.weights.dtype))

    def at_point(self, point: Tensor) -> Tensor:
        self.calls.add("point")
        return self.of_point(point)

    def at_index(self, index: Tensor) -> Tensor:
        self.calls.add("index")
        self.asked.append(index)
        asked = (index >= 0).all(-1) if self.event_dims else index >= 0
        return torch.where(asked, self.of_index(index.clamp_min(0)), 0.0)

    def at_all(self) -> Tensor:
        self.calls.add("all")
        return self.table()

    def table(self) -> Tensor:
        """Values at every outcome, `[*batch, K]` or `[*batch, K**L]`."""
        if self.event_dims:
            latents = self.log_probs.shape[-2] if self.log_probs is not None else self.latents
            outcomes = joint_outcomes(latents, self.num_categories)
            spread = outcomes.view(len(outcomes), *[1] * len(self.batch), latents)
            index = spread.expand(len(outcomes), *self.batch, latents)
        else:
            index = torch.arange(self.num_categories).view(-1, *[1] * len(self.batch))
            index = index.expand(self.num_categories, *self.batch)
        return self.of_index(index).movedim(0, -1)

    latents = 2


def joint_probs(logits: Tensor, event_dims: int) -> Tensor:
    """The probability of every outcome, `[*batch, K]` or `[*batch, K**L]`, written out."""
    probs = logits.softmax(-1)
    if not event_dims:
        return probs
    outcomes = joint_outcomes(*logits.shape[-2:])
    product = torch.ones(*logits.shape[:-2], len(outcomes), dtype=logits.dtype)
    for latent in range(logits.shape[-2]):
        product = product * probs[..., latent, :][..., outcomes[:, latent]]
    return product


def exact(logits: Tensor, event_dims: int = 0, contains_logits: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """The same three by autograd of the sum written out."""
    logits = logits.detach().requires_grad_()
    weights = WEIGHTS[: logits.shape[-1]].clone().requires_grad_()
    log_probs = logits.log_softmax(-1) if contains_logits else None
    value = (joint_probs(logits, event_dims) * Toy(weights, (), event_dims, log_probs).table()).sum()
    return value, *torch.autograd.grad(value, (logits, weights))


def independent_draws(logits: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
    """Every outcome of S independent draws, `[S, N]` or `[S, N, L]`, and its probability `[N]`."""
    latents = logits.shape[0] if logits.dim() == 2 else 1
    outcomes = joint_outcomes(num_samples * latents, logits.shape[-1]).view(-1, num_samples, latents)
    probs = logits.softmax(-1).expand(latents, -1)
    probability = probs[torch.arange(latents), outcomes].prod(-1).prod(-1)
    index = outcomes.transpose(0, 1)
    return (index if logits.dim() == 2 else index.squeeze(-1)), probability


JOINT_DRAWS = {"score-function": independent_draws}
"""How the index estimators draw; each has a `draw_index` that the test replaces."""


def context_of(batch: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.linspace(-1, 1, CONTEXT_DIM, dtype=dtype).expand(*batch, CONTEXT_DIM)
