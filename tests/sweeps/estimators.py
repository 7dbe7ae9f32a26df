"""Every estimator over the whole range of its options: finite, and right where it claims to be unbiased.

Each setting draws `--draws` times for one small example, as one batch in float32, with logits of size 0.001 to 10,000,
some with a masked category and two latents. Counted are the settings in which a value, a gradient or a control loss of
any draw is not finite. Of what is claimed to be unbiased the largest distance of a mean from the exact one is told, in
standard errors; a distance below `FLOOR` counts as none. Open are relaxations of which too few draws have a slope, at
temperatures below 0.01. `--page` fills the tables in docs/estimators.md; 15 minutes.

python -m tests.sweeps.estimators
"""

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import gatewise as gw
from gatewise.estimators import GradientEstimator
from gatewise.schedules import HIGHEST, LOWEST
from gatewise.testing import Toy, exact, seeded, toy_logits, toy_weights
from tests.estimators.cases import CASES, CONTEXT_DIM, Case
from tests.sweeps import sets
from tests.sweeps.pages import fill_page, table

RANGES: dict[str, tuple[Any, ...]] = {
    "temperature": (LOWEST, 1e-2, 0.3, 3.0, 1e2, HIGHEST),
    "forward_temperature": (LOWEST, 0.3, HIGHEST),
    "gap": (0.0, 1e-3, 1e4),
    "scale": (1e-4, 1e2),
    "decay": (0.0, 1 - 1e-9),
    "rate": (1e-9, 1.0),
    "replicates": (1, 30),
}
"""Options that are numbers, and values from one end of what they take to the other."""

ENDS = {option: (values[0], values[-1]) for option, values in RANGES.items()}

EXAMPLES = ((1e-3, 0, False), (1.0, 0, False), (1.0, 1, True), (10.0, 0, True), (1e4, 0, False), (1e4, 1, True))
"""The size of the logits, `event_dims`, and whether a category is masked."""

FLOOR = 2e-3
"""So far a category that was not drawn may move a mean; times the scale, where that weighs what is not drawn."""

FEW = 1000
"""Draws at a temperature of 1 that have as many near a border, where a relaxation has its slope, as are needed."""


@dataclass(frozen=True)
class Found:
    """What one setting gave: whether all was finite, and how far means were off in standard errors; None if open."""

    finite: bool
    away: float | None


def settings(ranges: dict[str, tuple[Any, ...]] = RANGES) -> Iterator[Case]:
    """Every case of the registry, as it is and with each of its numbers in turn over the range of it."""
    for case in CASES:
        yield case
        for option in gw.estimators.options(case.name):
            adaptive = option in ("rate", "decay") and case.name == "implicit-mle"
            if option == "decay" and case.options.get("baseline") not in ("running-mean", "learned") and not adaptive:
                continue  # nothing reads it
            if not adaptive or case.options.get("adaptive"):
                yield from (Case(case.name, {**case.options, option: value}) for value in ranges.get(option, ()))


def logits_of(scale: float, event_dims: int, masked: bool) -> Tensor:
    """`[K]`, or `[2, K]`, in float64."""
    logits = scale * toy_logits(5)
    if masked:
        logits[1] = -torch.inf
    return torch.stack([logits, logits.flip(0)]) if event_dims else logits


def look(case: Case, scale: float, event_dims: int, masked: bool, draws: int) -> Found:
    """Draw for one example."""
    logits = logits_of(scale, event_dims, masked).float()
    found, learned = draw(case, logits, draws)
    finite = all(bool(part.isfinite().all()) for part in (*found.values(), *learned))
    estimator = case.make()
    if estimator.calls > {"index"} and getattr(estimator, "temperature", 1.0) * draws < FEW:
        return Found(finite, None)
    right = dict(zip(("value", "logits", "parameters"), exact(logits.double(), event_dims), strict=True))
    floor = FLOOR * max(1.0, case.options.get("scale", 1.0))
    return Found(finite, max((distance(found[what], right[what], floor) for what in estimator.unbiased), default=0.0))


def distance(samples: Tensor, right: Tensor, floor: float) -> float:
    """The largest distance of a mean from the right one in standard errors; infinite where it is not a number."""
    samples = samples.flatten(1).double()
    off = (samples.mean(0) - right.flatten()).abs()
    error = samples.std(0) / len(samples) ** 0.5
    return torch.where(off < floor, 0.0, off / error).nan_to_num(torch.inf).max().item()


def draw(case: Case, logits: Tensor, draws: int) -> tuple[dict[str, Tensor], list[Tensor]]:
    """The value, the gradients for the logits and for the parameters of f, `[draws, ...]`; and what is learned by."""
    estimator, event_dims = case.make(), logits.dim() - 1
    estimator.set_progress(1.0)
    many = logits.expand(draws, *logits.shape).clone().requires_grad_()
    weights = toy_weights(5).float().expand(draws, -1).clone().requires_grad_()
    context = torch.ones(draws, CONTEXT_DIM)
    toy = Toy(weights, (draws,), event_dims)
    count = estimator.sample_counts.start
    estimate = gw.expect(toy, many, estimator, count, seeded(5), event_dims, context)
    found = {"value": estimate.value.detach().unsqueeze(1)}
    found["logits"], found["parameters"] = torch.autograd.grad(estimate.value.sum(), (many, weights))
    return found, learning(estimator, estimate.control_loss)


def learning(estimator: GradientEstimator, loss: Tensor | None) -> list[Tensor]:
    """The control loss, and what it moves."""
    own = [parameter for parameter in estimator.parameters() if parameter.requires_grad]
    if loss is None or not own:
        return []
    return [loss.detach(), *torch.autograd.grad(loss, own, allow_unused=True, materialize_grads=True)]


def said(values: tuple[Any, ...]) -> str:
    return f"{values[0]:g} to {values[-1]:g}"


def summed(draws: int, ranges: dict[str, tuple[Any, ...]] = RANGES) -> list[dict[str, Any]]:
    """A row of the table for each estimator."""
    rows = []
    for name, cases in itertools.groupby(settings(ranges), lambda case: case.name):
        swept: dict[str, None] = {}
        found, unbiased = [], set()
        for case in cases:
            swept |= {f"{option} {said(values)}": None for option, values in ranges.items() if option in case.options}
            unbiased |= case.make().unbiased
            found += [look(case, *example, draws) for example in EXAMPLES]
        away = [one.away for one in found if one.away is not None]
        rows.append(
            {
                "estimator": f"`{name}`",
                "swept": ", ".join(swept) or "-",
                "settings": len(found),
                "not finite": sum(not one.finite for one in found),
                "unbiased for": ", ".join(sorted(unbiased)) or "-",
                "furthest away": f"{max(away):.1f}" if unbiased else "-",
                "open": len(found) - len(away),
            }
        )
    return rows


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=100_000)
    parser.add_argument("--page", action="store_true", help="fill the table of docs/estimators.md")
    chosen = parser.parse_args()
    for name, rows in (("ranges", summed(chosen.draws)), ("sets", sets.rows())):
        text = table(rows)
        print(text, end="\n\n")
        if chosen.page:
            fill_page("docs/estimators.md", name, text)


if __name__ == "__main__":
    main()
