"""Every objective with every estimator on extreme inputs: values and gradients are finite, or the pair is refused.

Where experts are masked, their own gradients are 0.

python -m tests.faults.extremes
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import gatewise as gw
from gatewise.errors import GatewiseError
from gatewise.objectives import REGULARISERS, Objective
from tests.estimators.cases import CASES as ESTIMATORS

ROWS, FEATURES, CLASSES, EXPERTS = 6, 4, 3, 5
NONE = -torch.inf
TOLD = ("num_categories", "context_dim")
"""Options that are told of the problem."""


@dataclass(frozen=True)
class Pair:
    """An objective, and an estimator where it takes one, with options."""

    objective: str
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    estimator: str | None = None
    chosen: dict[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        said = [f"{key}={value}" for key, value in {**self.options, **self.chosen}.items()]
        return " ".join([self.objective, *([self.estimator] if self.estimator else []), *said])

    def make(self, num_experts: int) -> Objective:
        """The objective for K experts, the same each time; GatewiseError where the two cannot work together."""
        options = dict(self.options)
        with torch.random.fork_rng():
            torch.manual_seed(5)
            if self.estimator is not None:
                sizes = num_experts, FEATURES
                made = gw.objectives.make_estimator(self.objective, self.estimator, *sizes, **self.chosen)
                options["estimator"] = made
                options.setdefault("num_samples", made.sample_counts.start)
            return gw.objectives.get_fitting(self.objective, num_experts, FEATURES, CLASSES, **options)


def pairs() -> Iterator[Pair]:
    """Over the registries: every objective alone, and with every estimator and its options where it takes one."""
    for name in gw.objectives.names():
        known = gw.objectives.options(name)
        fitting = [{}, {"posterior": "amortised"}] if "posterior" in known else [{}]
        for options in fitting:
            if not gw.objectives.named(name).takes_estimator(**options):
                yield Pair(name, options)
                continue
            if name == "multi-sample":
                options = {**options, "num_samples": 2}
            for own in gw.objectives.named(name).own_estimators.names():
                yield Pair(name, options, own)
            for case in ESTIMATORS:
                chosen = {key: value for key, value in case.options.items() if key not in TOLD}
                yield Pair(name, options, case.name, chosen)


# The inputs


class Fixed(nn.Module):
    """A gate whose logits have other numbers added, or put in place where they are not NaN."""

    def __init__(self, gate: nn.Module, added: Tensor, scale: float = 1.0):
        super().__init__()
        self.gate, self.scale = gate, scale
        self.register_buffer("added", added)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.gate(x) + self.added


Input = tuple[gw.MixtureOfExperts, Tensor, Tensor]


def usual(
    experts: int = EXPERTS, rows: int = ROWS, added: Sequence[Any] | None = None, scale: float = 1.0, sharp: float = 1.0
) -> Input:
    """A small mixture, and rows; `added` to the gate's logits, which are scaled, as are the experts'."""
    torch.manual_seed(3)
    bank = gw.MLPBank(experts, FEATURES, [6], CLASSES)
    with torch.no_grad():
        bank.weights[-1] *= sharp
    gate = Fixed(nn.Linear(FEATURES, experts), torch.tensor(added or [0.0] * experts), scale)
    return gw.MixtureOfExperts(gate, bank), torch.randn(rows, FEATURES), torch.randint(CLASSES, (rows,))


def one_class() -> Input:
    mixture, x, y = usual()
    return mixture, x, torch.zeros_like(y)


class Times(nn.Module):
    """An expert whose answers are multiplied by a number."""

    def __init__(self, expert: nn.Module, number: float):
        super().__init__()
        self.expert, self.number = expert, number

    def forward(self, x: Tensor) -> Tensor:
        return self.expert(x) * self.number


MASKED = [0, 3]
"""The experts that no row may ask, of those inputs where they answer no numbers."""
BY_ROW = [[NONE, 0.0, NONE if row % 2 else 0.0, NONE, 0.0] for row in range(ROWS)]


def broken(number: float, bank: bool = False) -> Input:
    """Two experts whose answers and gradients are not finite; they are masked on every row, and a third on some.

    They are of a list, or of a bank, all of whose weights are the number; before them is a trunk.
    """
    mixture, x, y = usual(added=BY_ROW)
    if bank:
        with torch.no_grad():
            for parameter in mixture.experts.parameters():
                parameter[MASKED] = number
        experts = mixture.experts
    else:
        experts = [Times(mixture.experts.expert(k), number if k in MASKED else 1.0) for k in range(EXPERTS)]
    return gw.MixtureOfExperts(mixture.gate, experts, trunk=nn.Linear(FEATURES, FEATURES)), x, y


def of_masked(key: str, slope: Tensor) -> Tensor:
    """What the gradient of a parameter is for the masked experts of `broken`."""
    if key.startswith(("experts.weights", "experts.biases")):
        return slope[MASKED]
    return slope if key.startswith(tuple(f"experts.members.{k}." for k in MASKED)) else torch.zeros(0)


def narrow() -> Input:
    mixture, x, y = usual()
    return mixture.bfloat16(), x.bfloat16(), y


INPUTS: dict[str, Callable[[], Input]] = {
    "as usual": usual,
    "gate's logits × 1e4": lambda: usual(scale=1e4),
    "experts' logits × 1e4": lambda: usual(sharp=1e4),
    "both × 1e4": lambda: usual(scale=1e4, sharp=1e4),
    "one class in the batch": one_class,
    "K = 1": lambda: usual(experts=1),
    "a batch of 1": lambda: usual(rows=1),
    "all rows to one expert": lambda: usual(added=[0.0, 0.0, 60.0, 0.0, 0.0]),
    "masked experts": lambda: usual(added=[NONE, 0.0, 0.0, NONE, 0.0]),
    "all but two masked, × 1e4": lambda: usual(added=[NONE, 0.0, NONE, NONE, 0.0], scale=1e4),
    "probabilities of 0 and 1": lambda: usual(added=[NONE, NONE, NONE, 0.0, NONE], sharp=1e3),
    "masked experts that answer NaN": lambda: broken(torch.nan),
    "masked experts that answer infinity": lambda: broken(torch.inf),
    "a bank's masked experts of NaN": lambda: broken(torch.nan, bank=True),
    "a bank's masked experts of infinity": lambda: broken(torch.inf, bank=True),
    "a bank's masked experts of NaN, bfloat16 autocast": lambda: broken(torch.nan, bank=True),
    "bfloat16 weights": narrow,
    "bfloat16 autocast": usual,
    "bfloat16 autocast, both × 1e4": lambda: usual(scale=1e4, sharp=1e4),
}


def precision(name: str) -> contextlib.AbstractContextManager:
    return torch.autocast("cpu", torch.bfloat16) if "autocast" in name else contextlib.nullcontext()


def not_finite(pair: Pair, name: str) -> list[str]:
    """What of a pair is not finite at an input: the value, or gradients by parameter; or not 0 of a masked expert.

    Raises:
        GatewiseError: if the pair is refused.
    """
    mixture, x, y = INPUTS[name]()
    objective = pair.make(mixture.num_experts).train()
    objective.set_progress(0.5)
    objective.check_experts(mixture.num_experts)
    with precision(name):
        estimate = objective(mixture.observe(x, y), torch.Generator().manual_seed(1))
        loss = -estimate.value.mean() + (0.0 if estimate.control_loss is None else estimate.control_loss)
    found = [] if bool(estimate.value.isfinite().all() & loss.isfinite()) else ["the value"]
    named = {**dict(mixture.named_parameters()), **{f"own {n}": p for n, p in objective.named_parameters()}}
    slopes = torch.autograd.grad(loss, list(named.values()), materialize_grads=True, allow_unused=True)
    found += [key for key, slope in zip(named, slopes, strict=True) if not bool(slope.isfinite().all())]
    if "masked experts" in name:
        moved = [key for key, slope in zip(named, slopes, strict=True) if bool(of_masked(key, slope).any())]
        found += [f"{key} of a masked expert" for key in moved]
    return found


def not_finite_penalty(regulariser: str, name: str) -> list[str]:
    """The same of a regulariser of the gate."""
    mixture, x, _ = INPUTS[name]()
    with precision(name):
        penalty = REGULARISERS[regulariser](1.0)(mixture.read(x)[1].float())
    found = [] if bool(penalty.isfinite()) else ["the penalty"]
    slopes = torch.autograd.grad(penalty, list(mixture.gate.parameters()), materialize_grads=True, allow_unused=True)
    return found + ["the gate's gradient"] * (not all(bool(slope.isfinite().all()) for slope in slopes))


def main() -> None:
    """Print the figures."""
    total: Counter[str] = Counter()
    every = list(pairs())
    for name in INPUTS:
        counts: Counter[str] = Counter()
        checks = [(str(pair), lambda pair=pair, name=name: not_finite(pair, name)) for pair in every]
        checks += [(f"regulariser {r}", lambda r=r, name=name: not_finite_penalty(r, name)) for r in REGULARISERS]
        for what, check in checks:
            try:
                bad = check()
            except GatewiseError:
                counts["refused"] += 1
                continue
            counts["not finite" if bad else "finite"] += 1
            if bad:
                print(f"  {name}: {what}: {', '.join(bad)}")
        total += counts
        print(f"{name:52} {counts['finite']:4} finite, {counts['not finite']} not, {counts['refused']} refused")
    worked = total["finite"] + total["not finite"]
    print(f"{total['finite']} of {worked} values and gradients finite; {total['refused']} pairs refused in words")


if __name__ == "__main__":
    main()
