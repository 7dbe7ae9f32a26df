"""Every head over the whole range of its outputs and targets, against mpmath with 50 digits.

Cases are drawn at random: outputs and targets of all sizes that float32 has, with either sign, and among them such that
a target is likely. Errors are relative to the value itself, or to a millionth of the largest term that it is the sum of
where it is nearer to 0 than that; what is below float32's least normal number, 1.2e-38, counts as 0, and what is beyond
its greatest must be so too, or infinite. Slopes are told in the type of the outputs, and so in bfloat16 to three digits
only.
`--page` fills the table of docs/heads.md; 2 minutes.

python -m tests.sweeps.heads
"""

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
import torch
from mpmath import mpf
from torch import Tensor

from gatewise.metrics.quantiles import mixture_quantile
from gatewise.mixture import Bernoulli, Categorical, DistributionHead, Gaussian, Poisson, StudentT
from tests.sweeps.pages import fill_page, table

DIGITS = 50
TYPES = (torch.float32, torch.bfloat16, torch.float64)
SAID = ("float32", "bfloat16", "float64")
QUANTILES = ("gaussian", "student-t", "poisson")
LEAST, MOST = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max
NEAR_ZERO = 1e-6
FURTHEST = 1e7
"""Scales from 0 beyond which a location is no longer told from what is near it: float32 has no steps below one then."""
LEVELS = (1e-6, 0.05, 0.5, 0.95)

Terms = list[Any]
"""Numbers of mpmath whose sum is a value."""


@dataclass(frozen=True)
class Case:
    """One row: a head, an expert's outputs `[O]`, and a target."""

    head: Any
    outputs: list[float]
    y: Any


def sized(chance: np.random.Generator, low: float, high: float) -> float:
    """Of either sign, and of any size in between with the same probability."""
    return float(chance.choice([-1, 1]) * 10 ** chance.uniform(low, high))


def located(chance: np.random.Generator, made: Callable[..., Any], freedom: bool) -> Case:
    """A number: half of the cases within ten scales of its location."""
    location, unit = [(0.0, 1.0), (50.0, 10.0), (1e9, 1e-3), (-1e-12, 1e-15), (1e6, 1e5), (1e-30, 1e-30)][
        chance.integers(6)
    ]
    head = made(floor=float(chance.choice([1e-6, 1e-3, 1.0])), location=location, unit=unit)
    first, raw = sized(chance, -6, chance.choice([2, 30])), sized(chance, -3, chance.choice([1.5, 4, 30]))
    outputs = [first, raw] + ([sized(chance, -3, chance.choice([1.5, 4, 30]))] if freedom else [])
    outputs = torch.tensor(outputs).tolist()
    scale = max(outputs[1], math.log1p(math.exp(min(outputs[1], 700)))) + head.floor
    if chance.random() < 0.5 and abs(outputs[0]) < FURTHEST * scale:
        return Case(head, outputs, location + unit * (outputs[0] + scale * sized(chance, -3, 1)))
    return Case(head, outputs, location + unit * sized(chance, -6, chance.choice([2, 30])))


def counted(chance: np.random.Generator) -> Case:
    """A count: half of the cases near the rate."""
    head = Poisson(unit=float(chance.choice([1e-6, 1.0, 1000.0, 1e6, 1e12])))
    (output,) = torch.tensor([sized(chance, -3, chance.choice([1, 3, 7]))]).tolist()
    rate = float(head.distribution(torch.tensor([output])).mean)
    if chance.random() < 0.5 and rate < 1e15:
        return Case(head, [output], max(0.0, round(rate + chance.normal() * math.sqrt(rate))))
    return Case(head, [output], float(chance.choice([0, 1, 2, 7, 14, 15, 16, 100, 10**6, 16777217, 10**12])))


def labelled(chance: np.random.Generator) -> Case:
    outputs = torch.tensor([sized(chance, -3, chance.choice([1, 2, 4, 30])) for _ in range(3)]).tolist()
    return Case(Bernoulli(), outputs, chance.integers(0, 2, 3).astype(float).tolist())


def classed(chance: np.random.Generator) -> Case:
    """Logits around any number, as far apart as they may be."""
    size, at = chance.choice([1, 2, 4, 30]), chance.choice([0, 1, 1e3])
    outputs = torch.tensor([at + sized(chance, -3, size) for _ in range(chance.choice([2, 5, 30]))]).tolist()
    return Case(Categorical(), outputs, int(chance.integers(len(outputs))))


HEADS: dict[str, Callable[[np.random.Generator], Case]] = {
    "categorical": classed,
    "gaussian": lambda chance: located(chance, Gaussian, False),
    "student-t": lambda chance: located(chance, StudentT, True),
    "poisson": counted,
    "bernoulli": labelled,
}


def softplus(x: Any) -> Any:
    return mpmath.log1p(mpmath.exp(x)) if x < 1000 else x + mpmath.exp(-x)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x)) if x > -(10**6) else mpf(0)


def right(case: Case) -> dict[str, Terms]:
    """log p, its slope for each output, mean and variance, as terms."""
    outputs = [mpf(each) for each in case.outputs]
    if isinstance(case.head, Categorical):
        return of_classes(outputs, case.y)
    if isinstance(case.head, Bernoulli):
        return of_labels(outputs, case.y)
    if isinstance(case.head, Poisson):
        return of_counts(case.head, outputs[0], mpf(case.y))
    return of_numbers(case.head, outputs, mpf(case.y))


def of_classes(x: list[Any], y: int) -> dict[str, Terms]:
    shares = [mpmath.exp(each - max(x)) for each in x]
    others = sum(share for i, share in enumerate(shares) if i != y)
    found = {"log p": [x[y] - max(x), -mpmath.log1p(sum(shares) - 1)]}
    for i, share in enumerate(shares):
        found[f"slope {i}"] = [others / sum(shares) if i == y else -share / sum(shares)]
    return found


def of_labels(x: list[Any], y: list[float]) -> dict[str, Terms]:
    signs = [1 - 2 * mpf(each) for each in y]
    found = {"log p": [-softplus(sign * each) for sign, each in zip(signs, x, strict=True)]}
    for i, (sign, each) in enumerate(zip(signs, x, strict=True)):
        found |= {f"slope {i}": [-sign * sigmoid(sign * each)], f"mean {i}": [sigmoid(each)]}
    return found


def of_counts(head: Poisson, x: Any, y: Any) -> dict[str, Terms]:
    unit = mpf(head.unit)
    rate = unit * (softplus(x) + mpf(1e-6))
    slope = unit * sigmoid(x)
    return {
        "log p": [y * mpmath.log(rate) - rate - mpmath.loggamma(y + 1)],
        "slope 0": [y / rate * slope, -slope],
        "mean 0": [rate],
        "variance": [rate],
    }


def of_numbers(head: Gaussian | StudentT, x: list[Any], y: Any) -> dict[str, Terms]:
    unit, location = mpf(head.unit), mpf(head.location)
    scale, growth = softplus(x[1]) + mpf(head.floor), sigmoid(x[1])
    z = ((y - location) / unit - x[0]) / scale
    found = {"mean 0": [location, unit * x[0]]}
    rest = [-mpmath.log(scale), -mpmath.log(unit)]
    if len(x) == 2:
        found |= {"log p": [*rest, -mpmath.log(2 * mpmath.pi) / 2, -z * z / 2], "variance": [(unit * scale) ** 2]}
        return found | {"slope 0": [z / scale], "slope 1": [z * z * growth / scale, -growth / scale]}
    excess = softplus(x[2])
    freedom = 2 + excess
    gammas = mpmath.loggamma((freedom + 1) / 2) - mpmath.loggamma(freedom / 2) - mpmath.log(freedom * mpmath.pi) / 2
    tail = (freedom + 1) / (freedom + z * z)
    of_gammas = mpmath.digamma((freedom + 1) / 2) - mpmath.digamma(freedom / 2) - 1 / freedom
    of_tail = tail * z * z / freedom - mpmath.log1p(z * z / freedom)
    return found | {
        "log p": [*rest, gammas, -(freedom + 1) / 2 * mpmath.log1p(z * z / freedom)],
        "variance": [(unit * scale) ** 2 * freedom / excess],
        "slope 0": [tail * z / scale],
        "slope 1": [tail * z * z * growth / scale, -growth / scale],
        "slope 2": [of_gammas / 2 * sigmoid(x[2]), of_tail / 2 * sigmoid(x[2])],
    }


def told(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """What the head says of the same."""
    outputs = torch.tensor(case.outputs, dtype=dtype, requires_grad=True)
    y = torch.tensor(case.y) if isinstance(case.head, Categorical) else torch.tensor(case.y, dtype=torch.float64)
    log_p = case.head.log_prob(outputs, y)
    found = {"log p": log_p.detach()}
    if dtype != torch.bfloat16:
        (slopes,) = torch.autograd.grad(log_p, outputs)
        found |= {f"slope {i}": slope for i, slope in enumerate(slopes.detach())}
    if isinstance(case.head, DistributionHead):
        with torch.no_grad():
            found |= {f"mean {i}": mean for i, mean in enumerate(case.head.mean(outputs))}
            if not case.head.event_dims:
                found["variance"] = case.head.distribution(outputs).variance
                found["log p of distribution"] = case.head.distribution(outputs).log_prob(y)
    return found


def error(found: float, terms: Terms) -> float:
    """How far it is off, as the docstring of this module says; infinite where it should not be, or is not, so."""
    value = sum(terms)
    size = max(abs(value), NEAR_ZERO * max(map(abs, terms)))
    if abs(value) > MOST:
        return 0.0 if found * mpmath.sign(value) > MOST else math.inf
    if not math.isfinite(found):
        return math.inf
    found_, value = (mpf(0) if abs(each) < LEAST else mpf(each) for each in (found, value))
    return float(abs(found_ - value) / size) if found_ != value else 0.0


def cases(name: str, count: int) -> Iterator[Case]:
    chance = np.random.default_rng(list(name.encode()))
    for _ in range(count):
        yield HEADS[name](chance)


def rounded(case: Case, dtype: torch.dtype) -> Case:
    """With outputs that the type holds."""
    return Case(case.head, torch.tensor(case.outputs, dtype=dtype).double().tolist(), case.y)


def errors(name: str, count: int, dtype: torch.dtype) -> dict[str, float]:
    """The largest error of each quantity."""
    worst: dict[str, float] = {}
    # the terms of a slope at 1e30 degrees of freedom agree in their first 60 digits
    with mpmath.workdps(160 if name == "student-t" else DIGITS):
        for drawn in cases(name, count):
            case = rounded(drawn, dtype)
            expected = right(case)
            for what, found in told(case, dtype).items():
                if what == "log p of distribution" and not comparable(case):
                    continue
                terms = expected["log p" if what == "log p of distribution" else what]
                key = what if name == "student-t" and "slope" in what else what.rstrip(" 0123456789")
                worst[key] = max(worst.get(key, 0.0), error(found.item(), terms))
    return worst


def comparable(case: Case) -> bool:
    """Whether location and scale as numbers of float64 lose nothing, as a distribution of torch has them."""
    return getattr(case.head, "location", 0.0) == 0.0


def quantile_error(name: str, count: int) -> float:
    """How far P(Y <= quantile) is from what was asked, relative to it; of counts, how much they are off."""
    worst = 0.0
    with mpmath.workdps(DIGITS):
        for case in cases(name, count):
            of_expert = case.head.distribution(torch.tensor([[case.outputs]], dtype=torch.float64))
            location, scale = float(of_expert.mean), float(of_expert.variance.sqrt())
            freedom = float(getattr(of_expert, "df", torch.tensor(0.0)))
            if not comparable(case) or abs(location) > 1e6 * scale or max(freedom, scale) > 1e4:
                continue  # float64 does not hold the quantile to so many digits, or mpmath takes minutes
            for level in LEVELS:
                at = mixture_quantile(np.ones((1, 1)), of_expert, level)[0]
                worst = max(
                    worst,
                    abs(float(below(of_expert, at)) / level - 1)
                    if name != "poisson"
                    else float(not below(of_expert, at - 1) < level * (1 + 1e-9) <= below(of_expert, at) + 2e-9),
                )
    return worst


def below(of_expert: Any, at: float) -> Any:
    """P(Y <= at)."""
    if isinstance(of_expert, torch.distributions.Poisson):
        return mpf(0) if at < 0 else mpmath.gammainc(mpf(at) + 1, mpf(float(of_expert.rate)), regularized=True)
    z = (mpf(at) - mpf(float(of_expert.loc))) / mpf(float(of_expert.scale))
    if isinstance(of_expert, torch.distributions.Normal):
        return mpmath.ncdf(z)
    freedom = mpf(float(of_expert.df))
    tail = mpmath.betainc(freedom / 2, mpf(1) / 2, 0, freedom / (freedom + z * z), regularized=True) / 2
    return tail if z < 0 else 1 - tail


def rows(count: int) -> list[dict[str, Any]]:
    """A row of the table for each head and quantity."""
    lines = []
    for name in HEADS:
        found = {dtype: errors(name, count, dtype) for dtype in TYPES}
        for what in found[torch.float32]:
            of_types = {s: f"{e[what]:.1e}" if what in e else "-" for s, e in zip(SAID, found.values(), strict=True)}
            lines.append({"head": f"`{name}`", "of": what, "cases": count, **of_types})
        if name in QUANTILES:
            worst = f"{quantile_error(name, count):.1e}"
            lines.append(
                {"head": f"`{name}`", "of": "quantiles", "cases": count, **dict.fromkeys(SAID, "-"), "float64": worst}
            )
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--page", action="store_true", help="fill the table of docs/heads.md")
    chosen = parser.parse_args()
    text = table(rows(chosen.cases))
    print(text)
    if chosen.page:
        fill_page("docs/heads.md", "errors", text)


if __name__ == "__main__":
    main()
