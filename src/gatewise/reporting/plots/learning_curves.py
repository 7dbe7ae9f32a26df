"""Pictures over the epochs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gatewise.reporting.html.blocks import Picture
from gatewise.reporting.html.svg import FIRST, INK, SECOND, draw
from gatewise.reporting.schemas.fields import as_array, finite
from gatewise.wording import count, number

if TYPE_CHECKING:  # half a second that only drawing needs
    from matplotlib.figure import Figure

History = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Curve:
    """One line: a key of metrics.jsonl times `sign`. Training is dashed, validation solid."""

    key: str
    label: str
    colour: str
    dashed: bool = False
    sign: int = 1

    def values(self, history: History) -> np.ndarray:
        """The key's values, NaN where an epoch has no finite one."""
        return self.sign * as_array([finite(epoch.get(self.key)) for epoch in history])


@dataclass(frozen=True)
class Chart:
    """Lines that share an axis, whose unit is `unit`; `chooses`: there is nothing to see where K is 1."""

    name: str
    title: str
    unit: str
    caption: str
    curves: Sequence[Curve]
    chooses: bool = False


CHARTS = (
    Chart(
        "loss",
        "Loss",
        "nats an example",
        "Training lowers the dashed line. The NLL is of rows it does not see: when that rises again, it overfits.",
        [
            Curve("train_objective", "training, −objective", FIRST, dashed=True, sign=-1),
            Curve("validation_nll", "validation, NLL", FIRST),
        ],
    ),
    Chart(
        "accuracy",
        "Accuracy",
        "share of validation rows",
        "Mixture: all experts answer, weighted by the gate. Top-1: only the expert the gate likes best answers.",
        [Curve("validation_accuracy", "mixture", FIRST), Curve("validation_accuracy_top1", "top-1", SECOND)],
    ),
    Chart(
        "gate",
        "The gate",
        "nats",
        "Entropy: how undecided the gate is on a row. Mutual information: how much its choice depends on the row.",
        [
            Curve("train_gate_entropy", "entropy, training", FIRST, dashed=True),
            Curve("train_mutual_information", "information, training", SECOND, dashed=True),
            Curve("validation_gate_entropy", "entropy, validation", FIRST),
            Curve("validation_mutual_information", "information, validation", SECOND),
        ],
        chooses=True,
    ),
    Chart(
        "temperature",
        "Temperature λ",
        "λ",
        "How soft the estimator's relaxed choice is: towards 0 it becomes one expert.",
        [Curve("temperature", "λ", FIRST)],
    ),
)


def learning_pictures(history: History, best: int, num_experts: int) -> list[Picture]:
    """Loss, accuracy, what the gate does, and the temperature: those of which there is anything to see."""
    charts = (chart for chart in CHARTS if num_experts > 1 or not chart.chooses)
    pictures = (_picture(chart, history, best) for chart in charts)
    return [picture for picture in pictures if picture is not None]


def _picture(chart: Chart, history: History, best: int) -> Picture | None:
    epochs = as_array([finite(epoch["epoch"]) for epoch in history])
    drawn = [(curve, values) for curve in chart.curves if np.isfinite(values := curve.values(history)).any()]
    if not drawn:
        return None

    def paint(figure: "Figure") -> None:
        axes = figure.subplots()
        for curve, values in drawn:
            lonely = np.isfinite(values).sum() == 1  # a line through one point cannot be seen
            (line,) = axes.plot(epochs, values, color=curve.colour, label=curve.label, marker="o" if lonely else "")
            if curve.dashed:
                line.set(linestyle="--", alpha=0.75)
        if best in epochs:  # no epoch is best where every validation NLL was NaN
            axes.axvline(best, color=INK, linewidth=1, linestyle=":", label=f"best epoch, {best}")
        axes.set(xlabel="epoch", ylabel=chart.unit, xlim=(epochs.min() - 0.5, epochs.max() + 0.5))
        axes.locator_params("x", nbins=6, integer=True)
        figure.legend(loc="outside upper left", ncols=2)

    told = "; ".join(_told(curve.label, values) for curve, values in drawn)
    marked = f", best epoch {best} marked" if best in epochs else ""
    label = f"{chart.title} over {count(len(epochs), 'epoch')}{marked}. {told}."
    return Picture(draw(chart.name, label, 340, 250, paint), chart.title, chart.caption)


def _told(label: str, values: np.ndarray) -> str:
    seen = values[np.isfinite(values)]
    return (
        f"{label}: from {number(seen[0])} to {number(seen[-1])}, between {number(seen.min())} and {number(seen.max())}"
    )
