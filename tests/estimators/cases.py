"""The estimators under test, and how those draw whose outcomes can be listed.

A newly registered estimator is tested with its default options; to test more of its options add them to `VARIANTS`.
An estimator decided by its `draw_index` stands in `JOINT_DRAWS` and is tested by enumeration, any other by its means.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import gatewise as gw
from gatewise.estimators import GradientEstimator, PointEstimator
from gatewise.estimators.antithetic import log_pair
from gatewise.outcomes import joint_outcomes
from gatewise.testing import Outcomes, Subject, independent_draws, toy_logits, toy_weights

CONTEXT_DIM = 3
LOGITS, WEIGHTS = toy_logits(5), toy_weights(5)

WITH_BASELINE: list[dict[str, Any]] = [
    {"baseline": "none"},
    {"baseline": "running-mean"},
    {"baseline": "leave-one-out"},
    {"baseline": "learned"},
    {"baseline": "learned", "context_dim": CONTEXT_DIM},
]

NEEDED: dict[str, Any] = {"num_categories": 5}
"""What options without a default are given."""

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "decoupled-straight-through": [{}, {"temperature": 0.7, "forward_temperature": 1.3}],
    "enumeration": [{}, {"support_only": True}],
    "gapped-straight-through": [{}, {"gap": "adaptive"}],
    "gumbel-rao": [{}, {"temperature": 0.5, "replicates": 3}],
    "gumbel-softmax": [{}, {"temperature": "exponential:0.5:0.1"}],
    "implicit-mle": [{}, {"adaptive": True}],
    "rebar": [{}, {"learn_temperature": False}, {"learn_temperature": False, "learn_scale": False, "scale": 0.7}],
    "reinmax": [{}, {"temperature": 1.5}, {"variant": "rao-blackwell"}, {"variant": "control-variate"}],
    "relax": [NEEDED, {**NEEDED, "context_dim": CONTEXT_DIM}, {**NEEDED, "black_box": True}],
    "score-function": WITH_BASELINE,
    "selected-relaxation": [*WITH_BASELINE, {"temperature": 0.3, "scale": 2.0}],
    "straight-through-gumbel-softmax": [{}, {"temperature": 0.3}],
    "unordered-set": [{}, {"baseline": "none"}],
}


def different_draws(logits: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
    """Every ordered outcome of S draws without replacement, and its probability; -1 where nothing is left."""
    probs, size = logits.softmax(-1), min(num_samples, len(logits))
    index = joint_outcomes(size, len(logits)).T
    taken, probability = torch.zeros_like(probs).expand(index.shape[1], -1), torch.ones(index.shape[1]).double()
    for row in index:
        chance = probs * (1 - taken)
        probability = probability * (chance.gather(1, row.unsqueeze(1)).squeeze(1) / chance.sum(1)).nan_to_num(0.0)
        taken = taken.scatter(1, row.unsqueeze(1), 1.0)
    return index, probability


def top_and_one(logits: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
    """The S - 1 most likely and each of the others."""
    summed = min(num_samples, len(logits)) - 1
    order = logits.argsort(descending=True, stable=True)
    index = torch.cat([order[:summed, None].expand(-1, len(logits) - summed), order[None, summed:]])
    return index, logits[order[summed:]].softmax(0)


def antithetic_pairs(logits: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
    """All pairs; for L latents the independent pairs of each."""
    assert num_samples == 2
    log_probs = logits.log_softmax(-1).view(-1, logits.shape[-1])
    tables = [_pair_table(row) for row in log_probs]
    latents, count = len(tables), logits.shape[-1]
    pairs = joint_outcomes(2 * latents, count).view(-1, latents, 2)
    probability = torch.ones(len(pairs), dtype=torch.float64)
    for latent, table in enumerate(tables):
        probability = probability * table[pairs[:, latent, 0], pairs[:, latent, 1]]
    index = pairs.movedim(-1, 0)
    return (index if logits.dim() == 2 else index.squeeze(-1)), probability


def _pair_table(log_probs: Tensor) -> Tensor:
    """P `[K, K]`: the formula off the diagonal, and on it what is left of the marginal π."""
    first, second = joint_outcomes(2, len(log_probs)).T
    table = log_pair(log_probs.expand(len(first), -1), first.unsqueeze(0), second.unsqueeze(0)).exp()
    table = table.view(len(log_probs), -1).fill_diagonal_(0.0).nan_to_num(0.0)
    return table + torch.diag((log_probs.exp() - table.sum(1)).clamp_min(0.0))


JOINT_DRAWS: dict[str, Outcomes] = {
    "antithetic": antithetic_pairs,
    "decoupled-straight-through": independent_draws,
    "gapped-straight-through": independent_draws,
    "muprop": independent_draws,
    "reinmax": independent_draws,
    "score-function": independent_draws,
    "straight-through": independent_draws,
    "sum-and-sample": top_and_one,
    "unordered-set": different_draws,
}
"""All that the `draw_index` of an estimator can return, see `gatewise.testing.check_gradient_estimator`."""

NOISY = ({"variant": "rao-blackwell"}, {"variant": "control-variate"})
"""Options with which an estimator of `JOINT_DRAWS` has noise of its own besides."""


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

    def subject(self) -> Subject:
        """What the checks of `gatewise.testing` take."""
        outcomes = None if self.options in NOISY else JOINT_DRAWS.get(self.name)
        return Subject(self.make(), outcomes, len(LOGITS), CONTEXT_DIM)

    def counts(self, most: int) -> list[int]:
        """The sample counts from 1 to `most` that it takes."""
        taken = self.make().sample_counts
        return [count for count in range(1, most + 1) if count in taken]


def needed(name: str) -> dict[str, Any]:
    """Values for the options of an estimator that have no default."""
    return {option: value for option, value in NEEDED.items() if option in gw.estimators.options(name)}


CASES = [Case(name, options) for name in gw.estimators.names() for options in VARIANTS.get(name, [needed(name)])]
POINT_CASES = [case for case in CASES if isinstance(case.make(), PointEstimator)]
