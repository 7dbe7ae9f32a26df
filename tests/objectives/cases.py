"""The objectives under test, what each is by definition, and all that it may draw.

A newly registered objective is tested with its default options; add what else there is to `VARIANTS`, and its formula,
written out as a sum over outcomes, to `DEFINITIONS`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import gatewise as gw
from gatewise.mixture import Observed
from gatewise.objectives import Objective
from gatewise.outcomes import joint_outcomes
from gatewise.testing import independent_draws
from tests.estimators.cases import CASES as ESTIMATOR_CASES
from tests.estimators.cases import JOINT_DRAWS
from tests.mixture.models import CLASSES, EXPERTS, FEATURES, bank_mixture

SIZES = {"context_dim": FEATURES, "num_classes": CLASSES}
AMORTISED = {"posterior": "amortised", **SIZES}

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "jensen": [{}, {"estimator": "score-function"}],
    "multi-sample": [
        {},
        *({"num_samples": s, "estimator": e} for s, e in ((1, None), (3, "vimco"), (3, "enumeration"))),
    ],
    "stratified": [{}, {"top": 2, "num_samples": 3}, {"top": 3}, {"top": 50, "num_samples": 2}],
    "evidence": [{}, AMORTISED, {**AMORTISED, "estimator": "score-function", "num_samples": 2}],
    "hard-em": [{}, {"temperature": 1.0}, {"temperature": 0.01}],
}


@dataclass(frozen=True)
class Case:
    """A registered objective with options."""

    name: str
    options: dict[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return ",".join([self.name, *(f"{key}={value}" for key, value in self.options.items() if key not in SIZES)])

    def make(self, num_experts: int = EXPERTS, dtype: torch.dtype = torch.float64) -> Objective:
        """A new one, the same each time."""
        options = dict(self.options)
        if "posterior" in options:
            options["num_experts"] = num_experts
        with torch.random.fork_rng():
            torch.manual_seed(7)
            return gw.objectives.get(self.name, **options).to(dtype)


CASES = [Case(name, options) for name in gw.objectives.names() for options in VARIANTS.get(name, [{}])]


# What each is


def _marginal(observed: Observed, objective: Objective) -> Tensor:
    return (observed.logits.softmax(-1) * observed.at_all().exp()).sum(-1).log()


def _jensen(observed: Observed, objective: Objective) -> Tensor:
    return _mean(observed.logits.softmax(-1), observed.at_all())


def _multi_sample(observed: Observed, objective: Objective) -> Tensor:
    outcomes = joint_outcomes(objective.num_samples, observed.logits.shape[-1])
    probability = observed.logits.softmax(-1)[:, outcomes].prod(-1)
    return (probability * observed.at_all().exp()[:, outcomes].mean(-1).log()).sum(-1)


def _stratified(observed: Observed, objective: Objective) -> Tensor:
    gate, weights = observed.logits.softmax(-1), observed.at_all().exp()
    rows = []
    for p, w in zip(gate, weights, strict=True):
        order = p.argsort(descending=True, stable=True)
        top, rest = order[: objective.top], order[objective.top :]
        rest = rest[p[rest] > 0]
        summed = (p[top] * w[top]).sum()
        if len(rest) == 0:
            rows.append(summed.log())
            continue
        draws = joint_outcomes(objective.num_samples, len(rest))
        probability = (p[rest] / p[rest].sum())[draws].prod(-1)
        inside = summed + p[rest].sum() * w[rest][draws].mean(-1)
        rows.append((probability * inside.log()).sum())
    return torch.stack(rows)


def _evidence(observed: Observed, objective: Objective) -> Tensor:
    gate, values = observed.logits.softmax(-1), observed.at_all()
    if objective.posterior == "exact":
        return _marginal(observed, objective)
    logits = objective.inference(observed.features, observed.y)
    q = torch.where(gate > 0, logits, -torch.inf).softmax(-1)
    ratio = torch.where(gate > 0, gate, 1.0).log() - torch.where(gate > 0, q, 1.0).log()
    return _mean(q, values + ratio)


def _hard_em(observed: Observed, objective: Objective) -> Tensor:
    """Its value, with the gradient that it states."""
    gate, values = observed.logits.softmax(-1), observed.at_all()
    joint = torch.where(gate > 0, gate, 1.0).log() + values
    possible = torch.where(gate > 0, joint, -torch.inf).detach()
    responsibility = (possible / objective.temperature).softmax(-1)
    surrogate = (responsibility * joint).sum(-1)
    return possible.max(-1).values + surrogate - surrogate.detach()


def _mean(probs: Tensor, values: Tensor) -> Tensor:
    return (probs * values).sum(-1)


DEFINITIONS: dict[str, Callable[[Observed, Objective], Tensor]] = {
    "evidence": _evidence,
    "hard-em": _hard_em,
    "jensen": _jensen,
    "marginal": _marginal,
    "multi-sample": _multi_sample,
    "stratified": _stratified,
}
"""The bound `[B]` by enumeration, differentiable as the objective's gradient is claimed to be."""


# What each draws


def drawer(objective: Objective) -> Any:
    """What draws: the objective itself or its estimator; None where there is neither."""
    return objective if hasattr(objective, "draw_index") else next(objective.estimators(), None)


def outcomes(objective: Objective, mixture: gw.MixtureOfExperts, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor] | None:
    """All that the drawer's `draw_index` may return for one row, and its probabilities `[N]`.

    None: it draws nothing.
    """
    drawing, seen = drawer(objective), []
    if drawing is None:
        return None
    draw = drawing.draw_index

    def spy(logits: Tensor, num_samples: int, *rest: Any) -> Tensor:
        seen.append((logits.detach()[0], num_samples))
        return draw(logits, num_samples, *rest)

    drawing.draw_index = spy
    with torch.no_grad():
        objective(mixture.observe(x, y))
    drawing.draw_index = draw
    if not seen:
        return None
    index, probability = JOINT_DRAWS.get(drawing.name, independent_draws)(*seen[0])
    possible = probability > 0
    return index[:, possible], probability[possible]


def expected(
    objective: Objective, mixture: gw.MixtureOfExperts, x: Tensor, y: Tensor
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    """E of the value at one row x `[1, D]`, y `[1]`, and of its gradients for the gate, the experts and its own."""
    listed, number, probability = outcomes(objective, mixture, x, y), 1, torch.ones(1, dtype=x.dtype)
    if listed is not None:
        index, probability = listed
        number = len(probability)
        drawer(objective).draw_index = lambda *_, **__: index
    observed = mixture.observe(x.expand(number, -1), y.expand(number, *y.shape[1:]))
    return derivatives((probability * objective(observed).value).sum(), mixture, objective)


def derivatives(
    value: Tensor, mixture: gw.MixtureOfExperts, objective: Objective
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    """The value, detached, and its gradients for the gate, the experts and the objective's own parameters."""
    groups = [list(part.parameters()) for part in (mixture.gate, mixture.experts, objective)]
    every = [parameter for group in groups for parameter in group]
    found = iter(torch.autograd.grad(value, every, materialize_grads=True))
    gate, experts, own = ([next(found) for _ in group] for group in groups)
    return value.detach(), gate, experts, own


class Masking(nn.Module):
    """A gate that never chooses some experts."""

    def __init__(self, gate: nn.Module, experts: list[int]):
        super().__init__()
        self.gate, self.experts = gate, experts

    def forward(self, x: Tensor) -> Tensor:
        logits = self.gate(x)
        logits[:, self.experts] = -torch.inf
        return logits


def masked_mixture(masked: list[int], **options: Any) -> gw.MixtureOfExperts:
    mixture = bank_mixture(**options)
    mixture.gate = Masking(mixture.gate, masked)
    return mixture


LISTED_ESTIMATORS = [
    case
    for case in ESTIMATOR_CASES
    if (case.name == "enumeration" or case.subject().outcomes is not None) and "value" in case.make().unbiased
]
"""Estimators that draw nothing but what can be listed, and claim something."""
