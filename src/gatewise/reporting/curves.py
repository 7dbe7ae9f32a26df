"""Pictures over the epochs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gatewise.reporting.blocks import Picture
from gatewise.reporting.schema import finite
from gatewise.reporting.svg import FIRST, INK, SECOND, draw
from gatewise.reporting.wording import count, number

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
        values = [finite(epoch.get(self.key)) for epoch in history]
        return self.sign * np.array([np.nan if value is None else value for value in values])


LOSS = (
    Curve("train_objective", "training, −objective", FIRST, dashed=True, sign=-1),
    Curve("validation_nll", "validation, NLL", FIRST),
)
ACCURACY = (
    Curve("validation_accuracy", "mixture", FIRST),
    Curve("validation_accuracy_top1", "top-1", SECOND),
)
GATE = (
    Curve("train_gate_entropy", "entropy, training", FIRST, dashed=True),
    Curve("train_mutual_information", "information, training", SECOND, dashed=True),
    Curve("validation_gate_entropy", "entropy, validation", FIRST),
    Curve("validation_mutual_information", "information, validation", SECOND),
)
TEMPERATURE = (Curve("temperature", "λ", FIRST),)


def learning_pictures(history: History, best: int) -> list[Picture]:
    """Loss, accuracy, what the gate does, and the temperature: those of which there is anything to see."""
    pictures = [
        _picture(
            history, best, "Loss", LOSS, "nats an example",
            "What training lowers, and the NLL on rows it does not see. Where the two part, the model overfits.",
        ),
        _picture(
            history, best, "Accuracy", ACCURACY, "share of validation rows",
            "Mixture: all experts answer, weighted by the gate. Top-1: only the expert the gate likes best answers.",
        ),
        _picture(
            history, best, "The gate", GATE, "nats",
            "Entropy: how undecided the gate is on a row. Mutual information: how much its choice depends on the row.",
        ),
        _picture(
            history, best, "Temperature λ", TEMPERATURE, "λ",
            "How soft the estimator's relaxed choice is: towards 0 it becomes one expert.",
        ),
    ]  # fmt: skip
    return [picture for picture in pictures if picture is not None]


def _picture(
    history: History, best: int, title: str, curves: Sequence[Curve], unit: str, caption: str
) -> Picture | None:
    epochs = np.array([epoch["epoch"] for epoch in history], dtype=float)
    drawn = [(curve, values) for curve in curves if np.isfinite(values := curve.values(history)).any()]
    if not drawn:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for curve, values in drawn:
            lonely = np.isfinite(values).sum() == 1  # a line through one point cannot be seen
            style = {"linestyle": "--", "alpha": 0.75} if curve.dashed else {}
            axes.plot(epochs, values, color=curve.colour, label=curve.label, marker="o" if lonely else "", **style)
        axes.axvline(best, color=INK, linewidth=1, linestyle=":", label=f"best epoch, {best}")
        axes.set(xlabel="epoch", ylabel=unit)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        figure.legend(loc="outside upper left", ncols=2)

    told = "; ".join(_told(curve.label, values) for curve, values in drawn)
    label = f"{title} over {count(len(epochs), 'epoch')}, best epoch {best} marked. {told}."
    name = title.lower().replace(" ", "-")
    return Picture(draw(name, label, 340, 250, paint), title, caption)


def _told(label: str, values: np.ndarray) -> str:
    seen = values[np.isfinite(values)]
    return (
        f"{label}: from {number(seen[0])} to {number(seen[-1])}, between {number(seen.min())} and {number(seen.max())}"
    )
