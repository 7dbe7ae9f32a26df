"""Pictures of one trained model: its experts, its calibration, its mistakes."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gatewise.reporting.blocks import Picture
from gatewise.reporting.schema import Reliability
from gatewise.reporting.svg import FIRST, INK, MUTED, SECOND, draw
from gatewise.reporting.wording import count, number, percent, short

HEAT = (0.20, 0.45, 0.95)  # transparent where 0, so that it sits on a light page and on a dark one
STRONGEST = 0.7  # opacity at which ink still reads on it, light or dark
LEGIBLE = 12  # so many rows or columns leave room for a number in each cell
LINE = 13  # pixels that a label needs


def expert_use(share: Sequence[float | None], mean_gate: Sequence[float | None]) -> Picture:
    """Bars for each expert: the share of rows that it is the first choice of, and its mean weight."""
    shares, weights = _array(share), _array(mean_gate)
    experts = np.arange(len(shares))

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.bar(experts - 0.2, np.nan_to_num(shares), 0.4, color=FIRST, label="share of rows")
        axes.bar(experts + 0.2, np.nan_to_num(weights), 0.4, color=SECOND, label="mean gate")
        axes.axhline(1 / len(experts), color=INK, linewidth=1, linestyle=":", label="even use")
        axes.set(xlabel="expert", xlim=(-0.7, len(experts) - 0.3))
        axes.xaxis.set_major_locator(MaxNLocator(min(len(experts), 10), integer=True))
        axes.grid(visible=False, axis="x")
        figure.legend(loc="outside upper left", ncols=3)

    extremes = f"{_extremes('Share of rows', shares)} {_extremes('Mean gate', weights)}"
    label = f"Bars for {count(len(experts), 'expert')}. {extremes}"
    caption = (
        "Share of rows: on how many the expert is the gate's first choice. Mean gate: the weight it gets on average. "
        "Experts are counted from 0."
    )
    return Picture(draw("expert-use", label, 340, 250, paint), "Use of each expert", caption)


def experts_by_class(gate: Sequence[Sequence[float | None]], classes: Sequence[str]) -> Picture:
    """A heat map, one row for each class and one column for each expert: the mean gate given the class."""
    values = _array(gate)
    top = _largest(values)
    columns = [str(expert) for expert in range(values.shape[1])]
    cells = [["–" if np.isnan(value) else f"{value:.2f}" for value in row] for row in values]

    def paint(figure: Figure) -> None:
        _heat(figure.subplots(), values / top, cells, classes, columns, ("expert", "true class"))

    width, height = _extent(len(columns), 34, 340), _extent(len(classes), 22, 160)
    label = (
        f"Heat map of {count(len(classes), 'class', 'classes')} by {count(len(columns), 'expert')}: mean gate given "
        f"the class, at most {number(top, 2)}. {_specialists(values, classes)}"
    )
    caption = f"The mean gate given the true class; the full colour is {number(top, 2)}. An empty row had no such rows."
    return Picture(draw("experts-by-class", label, width, height, paint), "Which expert answers which class", caption)


def confusion_matrix(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Picture:
    """A heat map of true against predicted classes, coloured by the share of the true class."""
    counts = _array(confusion)
    totals = counts.sum(1, keepdims=True)
    cells = [[f"{value:.0f}" for value in row] for row in counts]

    def paint(figure: Figure) -> None:
        _heat(figure.subplots(), counts / np.maximum(totals, 1), cells, classes, classes, ("predicted", "true class"))

    size = _extent(len(classes), 32, 340)
    right = percent(float(counts.trace() / max(counts.sum(), 1)))
    label = f"Confusion matrix of {count(len(classes), 'class', 'classes')}: {right} of the rows are on the diagonal."
    caption = "Rows by true class and by predicted class; the colour is the share of the true class."
    return Picture(draw("confusion", label, size, size, paint), "Confusion matrix", caption)


def reliability_diagram(reliability: Reliability) -> Picture:
    """Accuracy against confidence, and below it how many rows had which confidence."""
    confidence, accuracy = _array(reliability.confidence), _array(reliability.accuracy)
    counts = _array(reliability.count)
    edges = np.linspace(0, 1, len(counts) + 1)

    def paint(figure: Figure) -> None:
        upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":", label="as sure as right")
        upper.plot(confidence, accuracy, "o-", color=FIRST, markersize=4, label="model")
        upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(-0.02, 1.02))
        lower.stairs(counts, edges, color=FIRST, fill=True, alpha=0.6)
        lower.set(xlabel="confidence", ylabel="rows")
        figure.legend(loc="outside upper left", ncols=2)

    over = np.nansum((confidence > accuracy) * counts) / max(counts.sum(), 1)
    label = (
        f"Reliability diagram of {count(counts.sum(), 'row')} in {count(len(counts), 'bin')} of confidence: "
        f"{percent(float(over))} of the rows lie in bins that are surer than they are right."
    )
    caption = (
        "How often the model is right (up) when it is so sure (right). Below the dotted line it is too sure of itself, "
        "above it too modest."
    )
    return Picture(draw("reliability", label, 340, 300, paint), "Reliability", caption)


def _heat(
    axes: Axes,
    strength: np.ndarray,
    cells: Sequence[Sequence[str]],
    rows: Sequence[str],
    columns: Sequence[str],
    names: tuple[str, str],
) -> None:
    """Cells coloured by `strength` in [0, 1], with their text where there is room; `names` of x and y."""
    pixels = np.empty((*strength.shape, 4))
    pixels[..., :3], pixels[..., 3] = HEAT, STRONGEST * np.nan_to_num(strength).clip(0, 1)
    axes.imshow(pixels, interpolation="none", aspect="auto")
    if max(strength.shape) <= LEGIBLE:
        for (row, column), _ in np.ndenumerate(strength):
            axes.text(column, row, cells[row][column], ha="center", va="center", fontsize=9)
    axes.grid(visible=False)
    axes.set(xlabel=names[0], ylabel=names[1])
    width, height = axes.figure.get_size_inches() * 72 * 0.75  # the rest is for labels
    upright = max(map(len, columns)) > 2
    down = range(0, len(rows), math.ceil(len(rows) * LINE / height))
    across = range(0, len(columns), math.ceil(len(columns) * (LINE if upright else 1.5 * LINE) / width))
    axes.set_yticks(down, [short(rows[row], 14) for row in down])
    axes.set_xticks(across, [short(columns[column], 14) for column in across], rotation=90 if upright else 0)


def _extent(cells: int, size: float, least: float) -> float:
    """Pixels for so many cells: `size` each while they can be read, then smaller ones."""
    return max(least, 70 + (size * cells if cells <= LEGIBLE else size * LEGIBLE + 4 * (cells - LEGIBLE)))


def _array(values: Sequence) -> np.ndarray:
    return np.array(values, dtype=float)  # None becomes NaN


def _largest(values: np.ndarray) -> float:
    return float(np.nanmax(values)) if np.nan_to_num(values).any() else 1.0


def _extremes(name: str, values: np.ndarray) -> str:
    if np.isnan(values).all():
        return f"{name}: unknown."
    most, least = np.nanargmax(values), np.nanargmin(values)
    return f"{name}: most, {values[most]:.3f}, for expert {most}; least, {values[least]:.3f}, for expert {least}."


def _specialists(values: np.ndarray, classes: Sequence[str], limit: int = 12) -> str:
    """The first choice of each class, for as many classes as a listener has patience for."""
    known = [row for row in range(len(values)) if not np.isnan(values[row]).all()][:limit]
    told = ", ".join(f"{short(classes[row], 14)} to expert {np.nanargmax(values[row])}" for row in known)
    return f"Most of the weight goes, for {'the first classes' if len(classes) > limit else 'each class'}: {told}."
