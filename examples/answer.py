"""Is ℓ_k ∇β_k the gradient for the gate? Every figure and number of docs/answer.md.

`bias`: the case of six classes, θ and ℓ below. `gw.audit` compares each estimator, over temperatures, with the exact
gradient g of Σ_z π_z ℓ_z for θ: its bias ‖E ĝ - g‖/‖g‖, the cosine of E ĝ and g, its length along g, ⟨E ĝ, g⟩/‖g‖²,
and its noise, √(tr Cov ĝ)/‖g‖, from a million float64 draws each; for the limit λ → 0 and for constants added to ℓ
from four million. About two minutes.

`training`: 8 linear experts and a gate 784-64-8 on MNIST, 5 epochs of Adam at 1e-3, batches of 256, λ from 1 to 0.3;
the last 5000 training images choose the epoch. Figures are of the test images, over 3 seeds. About 8 minutes on 2
cores; MNIST is read from the folder in GATEWISE_DATA.

Prints the tables and, with the default arguments, writes `benchmarks/results/answer_bias.json` and
`answer_training.json`, the pictures docs/images/answer_bias.png and answer_collapse.png, and the tables in the page.

    python examples/answer.py [bias] [training] [--repetitions 100000] [--seeds 1] [--jobs 2]
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from common import RESULTS, data_file, fill_page, table, write_result

import gatewise as gw
from gatewise.config import LoopConfig
from gatewise.estimators import Baseline
from gatewise.metrics import evaluate
from gatewise.training import fit

Row = dict[str, Any]
PAGE, IMAGES = "docs/answer.md", RESULTS.parents[1] / "docs" / "images"

# the case of six classes

THETA = torch.tensor([-0.2, 0.0, 1.1, -0.3, 1.1, -0.1], dtype=torch.float64)
LOG_LIKELIHOODS = torch.tensor([-3.2, -2.2, -1.9, -2.3, -1.7, -3.0], dtype=torch.float64)
TEMPERATURES = (2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02)
SMALL = (0.02, 0.01, 0.005)
SHIFTS = (-2.5, 0.0, 2.5, 5.0)


class ExactMean(Baseline):
    """b = Σ_z π_z ℓ_z: what a baseline that is learned tends to."""

    name = "exact mean"

    def forward(self, values: Tensor, context: Tensor | None) -> Tensor:
        return THETA.softmax(0) @ LOG_LIKELIHOODS


PROPOSAL, REPAIRED = "the proposal, ℓ_k ∇β_k", "the proposal, repaired: 2 (ℓ_k - b) ∇β_k"
ESTIMATORS: dict[str, tuple[str, dict[str, Any]]] = {
    PROPOSAL: ("selected-relaxation", {}),
    REPAIRED: ("selected-relaxation", {"baseline": ExactMean(), "scale": 2.0}),
    "Gumbel-Softmax": ("gumbel-softmax", {}),
    "straight-through Gumbel-Softmax": ("straight-through-gumbel-softmax", {}),
    "straight-through": ("straight-through", {}),
    "ReinMax": ("reinmax", {}),
    "score function, baseline": ("score-function", {"baseline": ExactMean()}),
}


def audited(
    estimator: str, temperatures: Sequence[float], repetitions: int, shift: float = 0.0, seed: int = 0
) -> list[Row]:
    """An estimator at each temperature, or once if it has none; `shift` is added to every ℓ.

    Each temperature has a seed of its own, so that the points of a curve do not share their noise.
    """
    rows = []
    for number, temperature in enumerate(temperatures):
        found = gw.audit(
            lambda z: (z * (LOG_LIKELIHOODS + shift)).sum(-1),
            THETA,
            [ESTIMATORS[estimator]],
            num_samples=1,
            temperatures=temperature,
            repetitions=repetitions,  # fixed, so that a faster machine finds the same
            seed=seed + number,
        )
        rows.append({"estimator": estimator, "added to ℓ": shift, **figures(found.rows[0])})
        if rows[0]["temperature"] is None:
            break
    return rows


def figures(row: Any) -> Row:
    """What is kept of a row of an audit."""
    return {
        "temperature": row.temperature,
        "bias": row.relative_bias,
        "bias interval": (row.relative_bias_low, row.relative_bias_high),
        "cosine": row.cosine,
        "length": 1 + row.relative_scale,
        "length interval": (1 + row.relative_scale_low, 1 + row.relative_scale_high),
        "noise": row.relative_std,
        "repetitions": row.repetitions,
    }


def bias(arguments: argparse.Namespace) -> None:
    """Audit the six classes; fill the page's first four tables and its first picture."""
    draws = arguments.repetitions
    rows = [row for estimator in ESTIMATORS for row in audited(estimator, TEMPERATURES, draws)]
    small = audited(PROPOSAL, SMALL, 4 * draws, seed=len(TEMPERATURES))
    shifted = [audited(PROPOSAL, (1.0,), 4 * draws, shift)[0] for shift in SHIFTS]
    of_proposal, of_repaired = ([row for row in rows if row["estimator"] == name] for name in (PROPOSAL, REPAIRED))
    texts = {
        "proposal": table([beside(*pair) for pair in zip(of_proposal, of_repaired, strict=True)]),
        "limit": table([towards_limit(row) for row in small]),
        "constant": table([{"added to ℓ": f"{row['added to ℓ']:g}", **in_words(row)} for row in shifted]),
        "estimators": table([across(name, rows) for name in ESTIMATORS]),
    }
    publish("bias", texts, [*rows, *small, *shifted], draw_bias(rows), arguments)


def towards_limit(row: Row) -> dict[str, str]:
    """A line of the table on λ → 0."""
    temperature, noise = row["temperature"], row["noise"]
    steady = {"noise": f"{noise:.1f}", "noise · √λ": f"{noise * temperature**0.5:.2f}"}
    return {"λ": f"{temperature:g}", "length": in_words(row)["length"], **steady}


def in_words(row: Row) -> dict[str, str]:
    low, high = row["length interval"]
    return {"cosine": f"{row['cosine']:.2f}", "length": f"{row['length']:.3f} ({low:.3f} to {high:.3f})"}


def beside(proposal: Row, repaired: Row) -> dict[str, str]:
    """A line of the table on the proposal and its repair."""
    pair = {"proposal": proposal, "repaired": repaired}
    columns = {"λ": f"{proposal['temperature']:g}"}
    for name, row in pair.items():
        columns |= {f"{name}: {key}": value for key, value in in_words(row).items()}
        columns[f"{name}: noise"] = f"{row['noise']:.1f}"
    return columns


def across(estimator: str, rows: list[Row]) -> dict[str, str]:
    """A line of the table on all estimators: bias and cosine at each temperature."""
    cells = {
        row["temperature"]: f"{row['bias']:.2f} ({row['cosine']:+.2f})" for row in rows if row["estimator"] == estimator
    }
    columns = {f"λ = {temperature:g}": cells.get(temperature, "") for temperature in TEMPERATURES}
    return {"estimator": estimator, "no λ": cells.get(None, ""), **columns}


LOOKS: dict[str, Row] = {
    PROPOSAL: {"color": "C3", "linewidth": 2.5},
    REPAIRED: {"color": "C0", "linewidth": 2.5},
    "Gumbel-Softmax": {"color": "C2"},
    "straight-through Gumbel-Softmax": {"color": "C8", "linestyle": ":", "markerfacecolor": "none", "markersize": 8},
    "straight-through": {"color": "C7", "linestyle": "--"},
    "ReinMax": {"color": "C1"},
    "score function, baseline": {"color": "C4", "linestyle": ":", "linewidth": 2.5},
}


def draw_bias(rows: list[Row]) -> Figure:
    """Bias, cosine and length over λ, with 95 % intervals where there are any."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    panels = {"bias": "bias, ‖E ĝ − g‖/‖g‖", "cosine": "cosine of E ĝ and g", "length": "length along g, ⟨E ĝ, g⟩/‖g‖²"}
    for axes, (key, title) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
        for estimator in ESTIMATORS:
            draw_estimator(axes, [row for row in rows if row["estimator"] == estimator], key)
        axes.set(title=title, xlabel="temperature λ, falling", xscale="log", xlim=(2.5, 0.016))
        axes.set_xticks(TEMPERATURES, [f"{t:g}" for t in TEMPERATURES])
        axes.minorticks_off()
    axes.axhline(0.5, color="0.6", linewidth=0.8, linestyle="--", zorder=0)
    axes.set_yticks((0, 0.25, 0.5, 0.75, 1), ("0", "¼", "½", "¾", "1"))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def draw_estimator(axes: Any, rows: list[Row], key: str) -> None:
    values, look = [row[key] for row in rows], {"label": rows[0]["estimator"], **LOOKS[rows[0]["estimator"]]}
    if rows[0]["temperature"] is None:
        axes.axhline(values[0], **look)
        return
    intervals = [row.get(f"{key} interval", (row[key], row[key])) for row in rows]
    spread = [(value - low, high - value) for value, (low, high) in zip(values, intervals, strict=True)]
    look = {"marker": "o", "markersize": 3, "capsize": 2, **look}
    axes.errorbar([row["temperature"] for row in rows], values, np.transpose(spread), **look)


# training on MNIST

EPOCHS, VALIDATION = 5, 5000
ANNEALED = {"temperature": "exponential:1:0.3"}
OPEN, BALANCED = {"gate_entropy": 0.1}, {"importance": 0.1, "load": 0.1}


class Recipe(NamedTuple):
    """An estimator of the bound's gradient (None: the marginal instead), and what is asked of the gate besides."""

    estimator: str | None
    options: Mapping[str, Any]
    regulariser: Mapping[str, float]

    def objective(self) -> gw.objectives.Objective:
        if self.estimator is None:
            return gw.objectives.get("marginal")
        return gw.objectives.get("jensen", estimator=gw.estimators.get(self.estimator, **self.options))


REPAIR = {**ANNEALED, "baseline": "running-mean", "scale": 2.0}
RECIPES = {
    "marginal": Recipe(None, {}, {}),
    "bound, exact": Recipe("enumeration", {}, {}),
    "bound, Gumbel-Softmax": Recipe("gumbel-softmax", ANNEALED, {}),
    "the proposal, as asked": Recipe("selected-relaxation", ANNEALED, {}),
    "the proposal, repaired": Recipe("selected-relaxation", REPAIR, {}),
    "score function": Recipe("score-function", {}, {}),
    "bound, exact + gate entropy": Recipe("enumeration", {}, OPEN),
    "bound, Gumbel-Softmax + gate entropy": Recipe("gumbel-softmax", ANNEALED, OPEN),
    "bound, exact + balance (gatewise's default)": Recipe("enumeration", {}, BALANCED),
    "the proposal, as asked + balance": Recipe("selected-relaxation", ANNEALED, BALANCED),
    "the proposal, repaired + balance": Recipe("selected-relaxation", REPAIR, BALANCED),
    "score function + balance": Recipe("score-function", {}, BALANCED),
}
FIGURES = {"accuracy": "accuracy", "nll": "NLL", "effective_experts": "experts in use", "gate_entropy": "H(z\\|x)"}
FIGURES |= {"mutual_information": "I(z;x)"}


def mnist() -> dict[str, tuple[Tensor, Tensor]]:
    """Images as rows of 784 numbers in [0, 1], and their classes."""
    arrays = np.load(data_file("mnist.npz"))
    parts = {part: (arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in ("train", "test")}
    rows = {part: (torch.tensor(x).flatten(1) / 255, torch.tensor(y).long()) for part, (x, y) in parts.items()}
    x, y = rows["train"]
    train, validation = (x[:-VALIDATION], y[:-VALIDATION]), (x[-VALIDATION:], y[-VALIDATION:])
    return {"train": train, "validation": validation, "test": rows["test"]}


def trained(label: str, seed: int) -> Row:
    """Train one recipe with one seed, and measure it on the test images."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    recipe, data = RECIPES[label], mnist()
    gate = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 8))
    mixture = gw.MixtureOfExperts(gate, gw.MLPBank(8, 784, [], 10))
    plain = {"lr_schedule": "constant", "weight_decay": 0.0, "clip": 0.0, "patience": 0}
    done = fit(
        mixture,
        recipe.objective(),
        data["train"],
        data["validation"],
        LoopConfig(epochs=EPOCHS, batch_size=256, seed=seed, **plain),
        regularisers=gw.objectives.regularisers(recipe.regulariser),
    )
    measured = evaluate(mixture, *data["test"], num_classes=10).result().to_dict()
    return {"trained by": label, "seed": seed, **{key: measured[key] for key in FIGURES}, "warnings": done.warnings}


def training(arguments: argparse.Namespace) -> None:
    """Train every recipe with every seed; fill the page's last table and its last picture."""
    data_file("mnist.npz")
    cells = [(label, seed) for label in RECIPES for seed in range(arguments.seeds)]
    rows = joblib.Parallel(arguments.jobs, verbose=5)(joblib.delayed(trained)(*cell) for cell in cells)
    texts = {"training": table([over_seeds(label, rows) for label in RECIPES])}
    publish("training", texts, rows, draw_collapse(rows), arguments)


def over_seeds(label: str, rows: list[Row]) -> dict[str, str]:
    """A line of the table: mean ± standard deviation over the seeds."""
    of_label = [row for row in rows if row["trained by"] == label]
    cells = {}
    for key, name in FIGURES.items():
        values, digits = [row[key] for row in of_label], 1 if key == "effective_experts" else 3
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        cells[name] = f"{statistics.mean(values):.{digits}f} ± {spread:.{digits}f}"
    warned = sum(bool(row["warnings"]) for row in of_label)
    return {"trained by": label, **cells, "warned": f"{warned} of {len(of_label)}"}


def draw_collapse(rows: list[Row]) -> Figure:
    """Experts in use, what the gate tells of x, and NLL: a dot a seed, a row a recipe."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    panels = {
        "effective_experts": "experts in use, of 8",
        "mutual_information": "I(z;x), nats",
        "nll": "test NLL, nats",
    }
    labels = list(RECIPES)
    every = figure.subplots(1, 3, sharey=True)
    for axes, (key, title) in zip(every, panels.items(), strict=True):
        for row in rows:
            colour = "C0" if RECIPES[row["trained by"]].regulariser else "C3"
            axes.plot(row[key], labels.index(row["trained by"]), "o", color=colour, markersize=5, alpha=0.7)
        axes.set(title=title)
        axes.grid(axis="y", color="0.9")
    every[0].set_yticks(range(len(labels)), labels)
    every[0].set_xticks(range(1, 9))
    every[1].set_xlim(-0.1, 2.19)
    every[2].set_xlim(0.14, 0.36)
    every[0].invert_yaxis()
    return figure


# what both share


def publish(part: str, texts: dict[str, str], rows: list[Row], figure: Figure, arguments: argparse.Namespace) -> None:
    """Print the tables and, after a run with the default arguments, write results, picture and page."""
    print("\n\n".join(texts.values()))
    if not arguments.whole:
        print(f"\nnot the default arguments: answer_{part}.json and the page are left as they were", file=sys.stderr)
        return
    for name, text in texts.items():
        fill_page(PAGE, name, text)
    figure.savefig(IMAGES / f"answer_{'bias' if part == 'bias' else 'collapse'}.png", dpi=150)
    write_result(f"answer_{part}", rows)


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {"bias": bias, "training": training}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--repetitions", type=int, default=1_000_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    usual = parser.parse_args([])
    arguments.whole = (arguments.repetitions, arguments.seeds) == (usual.repetitions, usual.seeds)
    for part in arguments.parts:
        PARTS[part](arguments)


if __name__ == "__main__":
    main()
