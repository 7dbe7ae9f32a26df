"""Whether an audit keeps its promise where categories are rare: of unbiased estimators 1 % are called biased.

For each probability of one category, audits of problems of 2 to 16 categories and 1 to 64 rows, each with an f and
logits of its own, with as few repetitions as an audit in a hurry makes: how often an unbiased estimator was called
biased, and how often its nominal 95 % interval held 0. `theirs` draws with torch alone, where nothing can be drawn more
often than it comes. `stretched` has a gradient that is half as long again, and is to be called biased. `--page` fills
the table in docs/audit.md; half an hour.

python -m tests.sweeps.audit
"""

import argparse
from collections import Counter
from typing import Any

import torch
from torch import Tensor

import gatewise as gw
from gatewise.estimators import GradientEstimator, ScoreFunction
from gatewise.expectation import Estimate, Info
from gatewise.testing import seeded
from tests.sweeps.pages import fill_page, table

RARITIES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
SIZES = ((2, 1), (4, 1), (16, 1), (2, 8), (4, 64))
"""K and rows."""


class Theirs(GradientEstimator):
    """The score function without a baseline, as somebody might write it who draws with torch."""

    name = "theirs"
    calls = frozenset({"index"})
    unbiased = frozenset({"value", "logits", "parameters"})
    reference = "made for this sweep"

    def forward(self, integrand, logits, *, num_samples=1, event_dims=0, generator=None, context=None):
        probs = logits.detach().softmax(-1)
        drawn = torch.multinomial(probs.flatten(0, -2), num_samples, replacement=True, generator=generator)
        index = drawn.T.view(num_samples, *logits.shape[:-1])
        values = integrand.at_index(index)
        chosen = logits.log_softmax(-1).expand(*index.shape, -1).gather(-1, index.unsqueeze(-1)).squeeze(-1)
        value = values + values.detach() * (chosen - chosen.detach())
        return Estimate(value.mean(0), None, Info(lambda: torch.ones(logits.shape[:-1]).long(), index=index))


class Stretched(ScoreFunction):
    """The score function, its gradient half as long again."""

    name = "stretched"

    def forward(self, integrand, logits, **options):
        return super().forward(integrand, 1.5 * logits - 0.5 * logits.detach(), **options)


CHOICES: tuple[Any, ...] = (
    ("score-function", {"baseline": "none"}),
    ("score-function", {"baseline": "leave-one-out"}),
    "sum-and-sample",
    "unordered-set",
    "arsm",
    "antithetic",
    ("rebar", {"learn_temperature": False, "learn_scale": False}),
    "muprop",
    Theirs(),
)


def problem(rarity: float, categories: int, rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Logits `[rows, K]` in which a category of every row has the probability `rarity`, and f at them."""
    generator = seeded(seed)
    logits, values = torch.randn(2, rows, categories, generator=generator, dtype=torch.float64)
    place = torch.randint(categories, (rows, 1), generator=generator)
    rest = logits.scatter(-1, place, -torch.inf).logsumexp(-1, keepdim=True)
    odds = torch.tensor(rarity / (1 - rarity), dtype=torch.float64).log()
    return logits.scatter(-1, place, rest + odds), values + 1


def counted(rarity: float, seeds: range, sizes: tuple[tuple[int, int], ...] = SIZES) -> Counter:
    """How often each estimator was audited, called biased, and had 0 in its interval."""
    counts: Counter = Counter()
    for seed in seeds:
        categories, rows = sizes[seed % len(sizes)]
        logits, values = problem(rarity, categories, rows, seed)
        found = gw.audit(
            lambda z, values=values: (z * values).sum(-1),
            logits,
            [*CHOICES, Stretched(baseline="none")],
            num_samples=2,
            seconds=0.01,
            seed=seed,
        )
        for row in found.rows:
            counts[row.label, "audits"] += 1
            counts[row.label, "biased"] += row.biased
            counts[row.label, "covered"] += row.relative_bias_low == 0
    return counts


def summed(rarity: float, audits: int) -> list[dict[str, Any]]:
    """A row of the table for each estimator."""
    counts = counted(rarity, range(audits))
    return [
        {
            "rarest category": f"{rarity:g}",
            "estimator": f"`{label}`",
            "audits": counts[label, "audits"],
            "called biased": f"{counts[label, 'biased'] / counts[label, 'audits']:.1%}",
            "interval holds 0": f"{counts[label, 'covered'] / counts[label, 'audits']:.1%}",
        }
        for label in sorted({label for label, _ in counts})
    ]


def main() -> None:
    """Print the table, and put it on its page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--audits", type=int, default=200, help="of each probability")
    parser.add_argument("--rarity", type=float, nargs="*", default=RARITIES)
    parser.add_argument("--page", action="store_true", help="fill docs/audit.md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for rarity in arguments.rarity:
        part = summed(rarity, arguments.audits)
        print(table(part), flush=True)
        rows += part
    if arguments.page:
        fill_page("docs/audit.md", "rarity", table(rows))


if __name__ == "__main__":
    main()
