"""One Bernoulli variable (REBAR: Tucker et al. 2017, 1703.07370; RELAX: Grathwohl et al. 2018, 1711.00123).

Minimises E (b - t)^2, b ~ Bernoulli(σ(φ)), from φ = 0 with Adam at 0.01 over 10,000 steps, one draw a step (two where
an estimator needs them); what an estimator learns is trained on its control loss, also by Adam at 0.01, and by each
seed for itself. It is asked as a categorical of two, with logits (0, φ). At t = 0.499 the two values of f differ by
0.002 only, so that variance hides which way to go: the optimum is 0.249001, at b = 0.

What f is between its two values decides what a relaxation of it is worth. "rebar" and "relax" take the straight line,
as a mixture's bound does. "rebar:parabola" takes (σ(z/λ) - t)^2, as the papers do: it falls to 0 in the middle, so
that at φ = 0 no η and λ have less variance than REINFORCE (a grid over both finds η = 0 best). "relax:parabola" has
to learn the difference first, and "relax:black-box", the authors' choice for this toy, all of it. Of the others those
that ask for points take the parabola.

Prints for each estimator the exact expected loss at the end (mean and worst of the seeds), how many seeds end within
1e-4 of the optimum, and the mean over seeds of log Var of the gradient for φ at the start, halfway and at the end,
from 1000 fresh draws in which nothing is trained. "as expected" says whether those that should reach 1e-4 in the mean
do, and REINFORCE does not. Writes `results/rebar_toy.json`, with the curves, the figure docs/images/rebar_toy.png and
the table in docs/estimators.md. About 8 minutes on one core.

    python benchmarks/papers/rebar_toy.py [--target 0.45] [--estimators rebar relax] [--steps 2000] [--seeds 10]
"""

import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from shared import RESULTS, Way, control, parser, read, save, table
from torch import Tensor

import gatewise as gw
from gatewise.estimators import GradientEstimator

TOLERANCE, EVERY, FRESH = 1e-4, 500, 1000
WAYS = {
    "score-function:no-baseline": Way("score-function", {"baseline": "none"}),
    "score-function:running-mean": Way("score-function"),
    "score-function:leave-one-out": Way("score-function", {"baseline": "leave-one-out"}, 2),
    "antithetic": Way("antithetic", {}, 2),
    "muprop": Way("muprop"),
    "rebar": Way("rebar"),
    "relax": Way("relax", {"num_categories": 2}),
    "rebar:parabola": Way("rebar"),
    "relax:parabola": Way("relax", {"num_categories": 2}),
    "relax:black-box": Way("relax", {"num_categories": 2, "black_box": True}),
    "reinmax": Way("reinmax"),
    "straight-through": Way("straight-through"),
    "gumbel-softmax": Way("gumbel-softmax", {"temperature": 0.5}),
}
REACHES = {"score-function:no-baseline": False, "rebar": True, "relax": True}
"""Whether it ends at the optimum of t = 0.499."""

Loss = Callable[[Tensor], Tensor]


def parabola(point: Tensor, target: float) -> Tensor:
    return (point[..., 1] - target).square()


def line(point: Tensor, target: float) -> Tensor:
    """The same at the corners, and straight between them."""
    return point[..., 0] * target**2 + point[..., 1] * (1 - target) ** 2


def estimate(way: Way, estimator: GradientEstimator, f: Loss, phi: Tensor) -> gw.Estimate:
    """One for each entry of φ."""
    return gw.expect(f, torch.stack([torch.zeros_like(phi), phi], -1), estimator, way.samples)


def log_variance(way: Way, estimator: GradientEstimator, f: Loss, phi: Tensor) -> Tensor:
    """log Var of the gradient at each entry of φ; of no variance at all, log 1e-20."""
    copies = phi.detach().repeat(FRESH, 1).requires_grad_()
    estimator.eval()
    (gradients,) = torch.autograd.grad(estimate(way, estimator, f, copies).value.sum(), copies)
    estimator.train()
    return gradients.var(0).clamp_min(1e-20).log()


def train(way: Way, f: Loss, steps: int, seed: int, problems: int) -> tuple[Tensor, Tensor]:
    """Problems side by side: b's mean and the gradient's log-variance every 500 steps, `[records, problems]`."""
    torch.manual_seed(seed)
    estimator = way.make()
    phi = torch.zeros(problems, requires_grad=True)
    optimiser = torch.optim.Adam([phi, *estimator.parameters()], lr=0.01)
    means, log_variances = [], []
    for step in range(steps + 1):
        if step % EVERY == 0:
            means.append(phi.detach().sigmoid())
            log_variances.append(log_variance(way, estimator, f, phi))
        made = estimate(way, estimator, f, phi)
        optimiser.zero_grad()
        (made.value.sum() + control(made)).backward()
        optimiser.step()
    return torch.stack(means), torch.stack(log_variances)


def measure(label: str, target: float, steps: int, seeds: int) -> dict[str, Any]:
    """A row of the table, and the curves that are drawn."""
    started, way = time.perf_counter(), WAYS[label]
    f = functools.partial(line if label in ("rebar", "relax") else parabola, target=target)
    # what one seed learns must not help another
    runs = [(seed, 1) for seed in range(seeds)] if way.learns else [(0, seeds)]
    found = [train(way, f, steps, *run) for run in runs]
    means, log_variances = (torch.cat(curves, 1) for curves in zip(*found, strict=True))
    losses = line(torch.stack([1 - means, means], -1), target)  # the expectation is linear in the probabilities
    distance = losses[-1] - min(target**2, (1 - target) ** 2)
    loss, log_variance = losses.mean(1).tolist(), log_variances.mean(1).tolist()
    reached = distance.mean().item() <= TOLERANCE
    return {
        "estimator": label,
        "loss": loss[-1],
        "from the optimum": distance.mean().item(),
        "worst seed": distance.max().item(),
        "seeds within 1e-4": int((distance <= TOLERANCE).sum()),
        "log Var at the start": log_variance[0],
        "halfway": log_variance[len(log_variance) // 2],
        "at the end": log_variance[-1],
        "as expected": {None: "", reached: "yes", not reached: "no"}[REACHES.get(label) if target == 0.499 else None],
        "seconds": time.perf_counter() - started,
        "curves": {"loss": loss, "log variance": log_variance},
    }


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Loss and log-variance over the steps, means over the seeds."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    titles = {"loss": "exact expected loss", "log variance": "log Var of the gradient"}
    for axes, (key, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        for row, colour in zip(rows, colormaps["tab20"].colors, strict=False):
            curve = row["curves"][key]
            axes.plot(range(0, EVERY * len(curve), EVERY), curve, label=row["estimator"], color=colour)
        axes.set(xlabel="steps", title=title)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    arguments = parser(__doc__, WAYS, seeds=10)
    arguments.add_argument("--target", type=float, default=0.499)
    arguments.add_argument("--steps", type=int, default=10_000)
    chosen, whole = read(arguments)
    rows = []
    for label in chosen.estimators:
        rows.append(measure(label, chosen.target, chosen.steps, chosen.seeds))
        print(f"{label}: {rows[-1]['seconds']:.0f} s", file=sys.stderr, flush=True)
    text = table([{key: value for key, value in row.items() if key not in ("curves", "seconds")} for row in rows])
    if whole:
        plot(rows, RESULTS.parents[1] / "docs" / "images" / "rebar_toy.png")
    save("rebar_toy", rows, text, whole)


if __name__ == "__main__":
    main()
