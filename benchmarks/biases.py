"""How far the biased estimators are from the gradient, on four kinds of f.

For 20 random choices of θ and f each, with K = 5: the bias ‖E ĝ - ∇‖/‖∇‖ in the median case and in the worst, and in
the worst case the cosine of E ĝ and ∇. E is a sum over all outcomes where D is all the noise, and otherwise the mean of
100,000 draws, with the squared error of that mean taken off (a bias below about .02 is then not told from 0). Fills the
table in docs/estimators.md and writes `results/biases.json`; 8 minutes.

    python benchmarks/biases.py
"""

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from common import fill_page, table, write_result
from torch import Tensor

import gatewise as gw
from gatewise.outcomes import joint_outcomes

CASES, CATEGORIES, PART = 20, 5, 4000


class Problem(NamedTuple):
    """f on points `[S, *batch, cases, K]`, or `[S, *batch, cases, 2, K]` of two latents."""

    f: Callable[[Tensor], Tensor]
    latents: int


def problems(generator: torch.Generator) -> dict[str, Problem]:
    w = torch.randn(CASES, CATEGORIES, generator=generator, dtype=torch.float64)
    pair = torch.randn(CASES, 2, CATEGORIES, generator=generator, dtype=torch.float64)
    matrix = torch.randn(CASES, CATEGORIES, CATEGORIES, generator=generator, dtype=torch.float64)

    def non_separable(point: Tensor) -> Tensor:
        first, second = (point * pair).sum(-1).unbind(-1)
        return (first * second).sin() + 1 / (1 + (first - second).square())

    return {
        "linear": Problem(lambda p: (p * w).sum(-1), 0),
        "quadratic": Problem(lambda p: (p * w).sum(-1) + torch.einsum("...i,...ij,...j->...", p, matrix, p), 0),
        "cubic": Problem(lambda p: (p * w).sum(-1) ** 3, 0),
        "non-separable": Problem(non_separable, 2),
    }


DISCRETE = {"straight-through", "decoupled-straight-through", "reinmax", "gapped-straight-through"}

WAYS: list[tuple[str, dict[str, Any]]] = [
    ("straight-through", {}),
    ("decoupled-straight-through", {"temperature": 0.5}),
    ("decoupled-straight-through", {"forward_temperature": 0.5}),
    ("gumbel-softmax", {"temperature": 1.0}),
    ("gumbel-softmax", {"temperature": 0.3}),
    ("straight-through-gumbel-softmax", {"temperature": 1.0}),
    ("straight-through-gumbel-softmax", {"temperature": 0.3}),
    ("gumbel-rao", {"temperature": 1.0}),
    ("gumbel-rao", {"temperature": 0.3}),
    ("gapped-straight-through", {}),
    ("gapped-straight-through", {"gap": "adaptive"}),
    ("reinmax", {}),
    ("reinmax", {"temperature": 1.5}),
    ("reinmax", {"variant": "rao-blackwell", "temperature": 0.5}),
    ("reinmax", {"variant": "control-variate", "temperature": 0.5}),
    ("implicit-mle", {"temperature": 1.0}),
    ("implicit-mle", {"temperature": 0.1}),
    ("selected-relaxation", {"temperature": 1.0}),
    ("selected-relaxation", {"temperature": 0.3}),
    ("selected-relaxation", {"temperature": 0.3, "baseline": "leave-one-out", "scale": 2.0}),
]


def gradients(estimator: Any, problem: Problem, logits: Tensor, batch: int) -> Tensor:
    """`[batch, *logits.shape]`."""
    leaf = logits.expand(batch, *logits.shape).clone().requires_grad_()
    samples = estimator.sample_counts.start
    value = gw.expect(problem.f, leaf, estimator, samples, event_dims=int(problem.latents > 0)).value
    return torch.autograd.grad(value.sum(), leaf)[0]


def expectation(estimator: Any, problem: Problem, logits: Tensor, draws: int) -> tuple[Tensor, Tensor]:
    """E ĝ `[cases, D]`, and the expected squared error of that, `[cases]`."""
    if estimator.name in DISCRETE and getattr(estimator, "variant", "plain") == "plain":
        outcomes = joint_outcomes(max(1, problem.latents), CATEGORIES)
        shape = (len(outcomes), *[1] * (logits.dim() - 1 - bool(problem.latents)))
        index = outcomes.view(*shape, problem.latents) if problem.latents else outcomes.view(shape)
        index = index.expand(len(outcomes), *logits.shape[:-1])
        drawn_from = logits / getattr(estimator, "forward_temperature", 1.0)
        log_probs = drawn_from.log_softmax(-1).expand(*index.shape, CATEGORIES)
        log_prob = log_probs.gather(-1, index.unsqueeze(-1)).squeeze(-1)
        probability = (log_prob.sum(-1) if problem.latents else log_prob).exp()
        estimator.draw_index = lambda *_: index.unsqueeze(0)
        each = gradients(estimator, problem, logits, len(outcomes)).view(len(outcomes), CASES, -1)
        return (probability.unsqueeze(-1) * each).sum(0), torch.zeros(CASES)
    total = squares = torch.zeros(())
    for _ in range(draws // PART):
        each = gradients(estimator, problem, logits, PART).view(PART, CASES, -1)
        total, squares = total + each.sum(0), squares + each.square().sum(0)
    mean = total / draws
    return mean, ((squares / draws - mean.square()) / draws).sum(-1)


def measure(estimator: Any, problem: Problem, logits: Tensor, draws: int) -> tuple[float, float, float]:
    """The bias in the median case and in the worst, and the worst cosine."""
    logits = logits[:, : problem.latents] if problem.latents else logits[:, 0]
    enumerated = gradients(gw.estimators.get("enumeration"), problem, logits, 1).view(CASES, -1)
    mean, error = expectation(estimator, problem, logits, draws)
    squared = ((mean - enumerated).square().sum(-1) - error).clamp_min(0)
    bias = squared.sqrt() / enumerated.norm(dim=-1)
    cosine = torch.cosine_similarity(mean, enumerated, dim=-1)
    return bias.median().item(), bias.max().item(), cosine.min().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=100_000)
    arguments = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(CASES, 2, CATEGORIES, generator=generator, dtype=torch.float64)
    kinds = problems(generator)
    rows, shown = [], []
    for name, options in WAYS:
        label = f"`{name}`" + "".join(f", {key} {value}" for key, value in options.items())
        line: dict[str, Any] = {"estimator": label}
        for kind, problem in kinds.items():
            torch.manual_seed(1)
            median, worst, cosine = measure(gw.estimators.get(name, **options), problem, logits, arguments.draws)
            rows.append({"estimator": name, "options": options, "f": kind, "median_bias": median, "worst_bias": worst})
            rows[-1]["worst_cosine"] = cosine
            line[kind] = "0" if worst < 1e-12 else f"{median:.2f} ({worst:.2f}, {cosine:+.2f})"
        print(*line.values(), sep=" | ", flush=True)
        shown.append(line)
    text = table(shown)
    print(f"\n{text}")
    if arguments.draws == parser.get_default("draws"):
        fill_page("docs/estimators.md", "biases", text)
        write_result("biases", rows)


if __name__ == "__main__":
    main()
