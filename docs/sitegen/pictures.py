"""Measurements of what is registered on a small fixed problem, and their pictures, made while the site is built."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib import rc_context
from matplotlib.figure import Figure

import gatewise as gw
from gatewise import estimators, objectives
from gatewise.testing import Toy, exact, seeded, toy_logits, toy_weights

CATEGORIES, ROWS, CALLS, WARM, DRAWS = 5, 1000, 12, 4, 50
TEMPERATURES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
COUNTS = (1, 2, 3, 4, 6)
SHARPNESS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0)
BLUE, ORANGE, GREY = "#2166ac", "#b35806", "#999999"


class Point(NamedTuple):
    """One setting: what was varied, then relative to the length of the exact gradient."""

    at: float
    bias: float
    spread: float
    noise: float

    @property
    def told_from_zero(self) -> bool:
        """Whether the bias is more than twice what chance gives."""
        return self.bias > 2 * self.noise


def measure(name: str, at: float, num_samples: int, **options: Any) -> Point:
    """Bias and standard deviation for the logits on `gatewise.testing.Toy`, from `(CALLS - WARM) * ROWS` gradients.

    The first calls only let running baselines settle. The bias is ‖mean - g‖, the noise what the mean of so many
    estimates is away from its expectation.
    """
    estimator = estimators.get_fitting(name, CATEGORIES, **options)
    weights, generator, found = toy_weights(CATEGORIES), seeded(1), []
    for call in range(CALLS):
        logits = toy_logits(CATEGORIES).expand(ROWS, -1).clone().requires_grad_()
        torch.manual_seed(call)
        value = estimator(Toy(weights, (ROWS,)), logits, num_samples=num_samples, generator=generator).value
        if call >= WARM:
            found.append(torch.autograd.grad(value.sum(), logits)[0])
    gradients, right = torch.cat(found), exact(toy_logits(CATEGORIES))[1]
    spread = gradients.var(0).sum().sqrt() / right.norm()
    bias = (gradients.mean(0) - right).norm() / right.norm()
    return Point(at, float(bias), float(spread), float(spread) / len(gradients) ** 0.5)


def course(name: str) -> tuple[str, list[Point]]:
    """What is varied, the temperature or else the number of samples, and the measurements."""
    taken = estimators.get_fitting(name, CATEGORIES).sample_counts
    if "temperature" in estimators.options(name):
        return "temperature", [measure(name, t, taken.start, temperature=t) for t in TEMPERATURES]
    return "samples", [measure(name, count, count) for count in COUNTS if count in taken]


def draw_estimator(name: str, file: Path) -> tuple[str, list[Point]]:
    """Write the picture of an estimator's course, and return the course."""
    varied, points = course(name)
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes, lowest, at = figure.subplots(), 1e-4, [point.at for point in points]
    axes.plot(at, [max(p.spread, lowest) for p in points], color=BLUE, marker="s", label="standard deviation")
    axes.plot(at, [max(p.bias, lowest) for p in points], color=ORANGE, label="bias")
    for told, face, label in ((True, ORANGE, None), (False, "white", "bias not told from 0")):
        shown = [p for p in points if p.told_from_zero == told]
        if shown:
            heights = [max(p.bias, lowest) for p in shown]
            axes.plot([p.at for p in shown], heights, "o", color=ORANGE, markerfacecolor=face, label=label)
    axes.set(yscale="log", xlabel={"temperature": "temperature λ", "samples": "samples S"}[varied])
    axes.set_ylim(lowest / 1.5, None)
    axes.set_ylabel("relative to ‖gradient‖")
    if varied == "temperature":
        axes.set(xscale="log", xticks=at, xticklabels=[f"{t:g}" for t in at])
        axes.minorticks_off()
    axes.legend(frameon=False, fontsize="small")
    _save(figure, file)
    return varied, points


def gaps(name: str) -> dict[str, list[float]]:
    """log p(y|x) less the objective's mean, along the gate's sharpness; a curve for each S that makes another."""
    counts = (1, 2, 4) if "num_samples" in objectives.options(name) else (None,)
    curves: dict[str, list[float]] = {}
    for count in counts:
        chosen = {} if count is None else {"num_samples": count}
        try:
            curve = [_gap(name, sharpness, **chosen) for sharpness in SHARPNESS]
        except gw.GatewiseError:  # a count that it does not take with its other defaults
            continue
        if all(max(abs(a - b) for a, b in zip(curve, other, strict=True)) > 1e-6 for other in curves.values()):
            curves[f"S = {count}" if count else name] = curve
    return curves if len(curves) > 1 else {name: next(iter(curves.values()))}


def _gap(name: str, sharpness: float, **chosen: Any) -> float:
    torch.manual_seed(0)
    experts, features, classes, rows = 5, 4, 3, 32
    mixture = gw.MixtureOfExperts(
        torch.nn.Linear(features, experts), gw.MLPBank(experts, features, (), classes)
    ).double()
    x, y = torch.randn(rows, features).double(), torch.randint(classes, (rows,))
    with torch.no_grad():
        mixture.gate.weight.mul_(sharpness)
        mixture.gate.bias.mul_(sharpness)
        for weight in mixture.experts.weights:
            weight.mul_(4)  # experts that disagree
        x, y = x.repeat(DRAWS, 1), y.repeat(DRAWS)
        objective = objectives.get_fitting(name, experts, features, classes, **chosen).double()
        value = objective(mixture.observe(x, y), generator=seeded(1)).value
        return float((mixture.log_prob(x, y) - value).mean())


def draw_objective(name: str, curves: dict[str, dict[str, list[float]]], file: Path) -> None:
    """Write the picture of an objective's gap, the others in grey."""
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    for other in [known for known in curves if known != name]:
        for curve in curves[other].values():
            axes.plot(SHARPNESS, curve, color=GREY, linewidth=0.8, alpha=0.7)
    for place, (label, curve) in enumerate(curves[name].items()):
        axes.plot(SHARPNESS, curve, color=BLUE, linestyle=("-", "--", ":")[place], marker="o", label=label)
    axes.set(xlabel="sharpness of the gate: its logits, multiplied", ylabel="log p(y|x) − objective, nats")
    axes.legend(frameon=False, fontsize="small", title="grey: the other objectives", title_fontsize="small")
    _save(figure, file)


def _save(figure: Figure, file: Path) -> None:
    """As SVG, the same bytes each time."""
    with rc_context({"svg.hashsalt": "gatewise", "svg.fonttype": "none", "font.size": 10}):
        for axes in figure.axes:
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(file, format="svg", metadata={"Date": None})
