"""Rare categories: those that an estimator ought to have chosen, and that a sample of it never shows."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gatewise.auditing.exact import Exact
from gatewise.auditing.importance_sampling import RARE, jumps
from gatewise.auditing.problem import Problem
from gatewise.auditing.statistics import Moments, with_more
from gatewise.outcomes import as_categories, joint_log_probs

THIN = 30
"""Draws of a category from which their spread is known."""
MATTERS = 0.01
"""A category that adds less than this to the gradient, relative to its length, is not worth a word."""


@dataclass(frozen=True)
class Sample:
    """Repetitions of an estimator.

    Attributes:
        moments: theirs, with the noise that they ought to have shown.
        weighed: rare categories were drawn more often, and weighed.
        unseen_probability: of the rare category that matters most among those that were never chosen, or 0.
        told: which category was chosen too seldom to tell, and how often; empty where all were chosen enough.
    """

    moments: Moments
    weighed: bool = False
    unseen_probability: float = 0.0
    told: str = ""

    def caution(self, most: float) -> str | None:
        """What the draws cannot tell, where a bias below `most` cannot be excluded."""
        return f"{self.told}: a bias below {most:.0%} cannot be excluded" if self.told else None


class Asked:
    """How often an estimator asked for every outcome.

    Args:
        problem: whose outcomes.
        num_samples: S: what it asks for is taken to be S independent draws, or one.
    """

    def __init__(self, problem: Problem, num_samples: int):
        self.problem, self.num_samples = problem, num_samples
        self.counts = torch.zeros(problem.table.shape, dtype=torch.int64, device=problem.table.device)

    def judged(self, m: Moments, exact: Exact) -> Sample:
        """The sample, with the noise of rare outcomes that came up less often than their probability says.

        N draws of an outcome of probability π come up Nπ times, with a variance of Nπ. Where they came up n times the
        sample shows a variance of about n, and nothing at all for n = 0. What is missing is added.
        """
        if not bool(self.counts.any()):
            return Sample(m)
        probs = joint_log_probs(self.problem.logits, self.problem.event_dims).exp()
        size = self.sizes(exact, probs)
        repetitions, number = m.repetitions, self.num_samples
        thin = (probs > 0) & (probs < RARE) & (repetitions * probs < THIN)
        missing = [
            torch.where(thin, (repetitions * each * probs - self.counts) * (size / each).square(), 0.0)
            for each in {1, number}
        ]
        variance = max(0.0, *(float(each.sum()) for each in missing)) / repetitions
        weights = torch.where(thin & (self.counts < THIN), probs * size, 0.0)
        worst = int(weights.argmax())
        if float(weights.flatten()[worst]) < MATTERS:
            return Sample(with_more(m, variance))
        chosen, probability = int(self.counts.flatten()[worst]), float(probs.flatten()[worst])
        times = "no draw" if not chosen else f"{chosen} of the draws"
        told = f"{times} chose {self.named(worst)}, of probability {probability:.1g}, in {repetitions:,} repetitions"
        return Sample(with_more(m, variance), unseen_probability=0.0 if chosen else probability, told=told)

    def sizes(self, exact: Exact, probs: Tensor) -> Tensor:
        """How long a single estimate is when an outcome is drawn, in units of ‖g‖; that of the score function."""
        values = torch.where(probs > 0, self.problem.table, 0.0)
        return jumps(values, probs) * (float(values.abs().amax()) / exact.unit) / exact.length * self.gain(probs)

    def gain(self, probs: Tensor) -> float:
        """How much longer a gradient becomes on its way to what is audited."""
        if self.problem.pull is None:
            return 1.0
        generator = torch.Generator().manual_seed(0)
        rare = torch.where((probs > 0) & (probs < RARE), probs, 0.0).sum(-1)
        logits = self.problem.logits
        drawn = torch.randn((8, *logits.shape), generator=generator, dtype=logits.dtype).to(logits.device)
        drawn *= rare.view(*rare.shape, *[1] * (logits.dim() - rare.dim()))
        return float(self.problem.pulled(drawn).double().norm() / drawn.norm().clamp_min(1e-300))

    def named(self, place: int) -> str:
        """An outcome in words."""
        row, outcome = divmod(place, self.counts.shape[-1])
        if not self.problem.event_dims:
            return f"category {outcome} of example {row}"
        index = as_categories(torch.tensor(outcome), self.problem.logits[..., :, :].cpu(), 1)
        return f"categories {', '.join(map(str, index.tolist()))} of example {row}"
