"""Heat maps: experts by classes, and the confusion matrix."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unicodedata import east_asian_width

import numpy as np
from markupsafe import Markup

from gatewise.reporting.html.blocks import Picture
from gatewise.reporting.html.svg import draw
from gatewise.reporting.schemas.fields import as_array
from gatewise.wording import count, number, percent, short

if TYPE_CHECKING:  # half a second that only drawing needs
    from matplotlib.figure import Figure

HEAT = (0.20, 0.45, 0.95)  # transparent where 0, so that it sits on a light page and on a dark one
STRONGEST = 0.7  # opacity at which ink still reads on it, light or dark
NUMBERED = 12  # so many rows or columns leave room for a number in each cell
LINE = 13  # pixels that a line of text needs
LETTER = 6
LONGEST = 14  # letters of a label


@dataclass(frozen=True)
class HeatMap:
    """Cells coloured by `strength` in [0, 1] (`[rows, columns]`), with their text where there is room."""

    strength: np.ndarray
    cells: Sequence[Sequence[str]]
    rows: Sequence[str]
    columns: Sequence[str]
    across: str
    down: str

    def draw(self, name: str, label: str) -> Markup:
        """The map as an SVG as large as its labels and cells need."""
        rows, columns = self.strength.shape
        beside = 40 + LETTER * _longest(self.rows)
        below = 35 + (LETTER * _longest(self.columns) if self.upright else LINE)
        return draw(name, label, beside + self.extent(columns), below + self.extent(rows), self.paint)

    @property
    def numbered(self) -> bool:
        """Whether the cells carry their text."""
        return max(self.strength.shape) <= NUMBERED

    @property
    def upright(self) -> bool:
        """Whether the labels below stand on end."""
        return _longest(self.columns) > 2

    def extent(self, cells: int) -> float:
        """Pixels for so many cells in a row."""
        if self.numbered:
            return max(100, 30 * cells)
        return max(220, min(LINE * cells, 400), 5 * cells)

    def paint(self, figure: "Figure") -> None:
        """Draw on an empty figure."""
        axes = figure.subplots()
        pixels = np.empty((*self.strength.shape, 4))
        pixels[..., :3], pixels[..., 3] = HEAT, STRONGEST * np.nan_to_num(self.strength).clip(0, 1)
        axes.imshow(pixels, interpolation="none", aspect="auto")
        axes.grid(visible=False)
        axes.set(xlabel=self.across, ylabel=self.down)
        down = self.labelled(len(self.rows), LINE)
        across = self.labelled(len(self.columns), LINE if self.upright else 2 * LINE)
        axes.set_yticks(down, [short(self.rows[row], LONGEST) for row in down])
        axes.set_xticks(across, [short(self.columns[column], LONGEST) for column in across])
        axes.tick_params("x", rotation=90 if self.upright else 0)
        if self.numbered:
            for row, column in np.ndindex(self.strength.shape):
                axes.text(column, row, self.cells[row][column], ha="center", va="center", fontsize=9)

    def labelled(self, cells: int, room: float) -> range:
        """The cells of a row that get a label, when each needs so much room."""
        return range(0, cells, math.ceil(cells * room / self.extent(cells)))


def experts_by_class(gate: Sequence[Sequence[float | None]], classes: Sequence[str]) -> Picture:
    """One row for each class and one column for each expert: the mean gate given the class."""
    drawn, top = _mean_gate(gate, classes, "true class")
    label = (
        f"Heat map of {count(len(classes), 'class', 'classes')} by {count(len(drawn.columns), 'expert')}: the mean "
        f"gate given the class, at most {top}. {_favourites(drawn.strength, classes)}"
    )
    absent = " An empty row: no such class was seen." if np.isnan(drawn.strength).any() else ""
    caption = f"The mean gate given the true class; the full colour is {top}.{absent}"
    return Picture(drawn.draw("experts-by-class", label), "Which expert answers which class", caption)


def experts_by_label(gate: Sequence[Sequence[float | None]], labels: Sequence[str]) -> Picture:
    """One row for each label and one column for each expert: the mean gate of the rows that have the label."""
    drawn, top = _mean_gate(gate, labels, "label")
    label = (
        f"Heat map of {count(len(labels), 'label')} by {count(len(drawn.columns), 'expert')}: the mean gate of the "
        f"rows that have the label, at most {top}."
    )
    absent = " An empty row: no row has that label." if np.isnan(drawn.strength).any() else ""
    caption = f"The mean gate of the rows that have the label; the full colour is {top}.{absent}"
    return Picture(drawn.draw("experts-by-label", label), "Which expert answers rows with which label", caption)


def _mean_gate(gate: Sequence[Sequence[float | None]], rows: Sequence[str], down: str) -> tuple[HeatMap, str]:
    """The map of a mean gate, one column for each expert, and what its full colour stands for."""
    values = as_array(gate)
    top = float(np.nanmax(values)) if np.nan_to_num(values).any() else 1.0
    experts = [str(expert) for expert in range(values.shape[1])]
    cells = [["–" if np.isnan(value) else f"{value:.2f}" for value in row] for row in values]
    return HeatMap(values / top, cells, rows, experts, "expert", down), number(top, 2)


def confusion_matrix(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Picture:
    """True against predicted classes, coloured by the share of the true class."""
    counts = as_array(confusion)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    cells = [[f"{value:.0f}" if value else "" for value in row] for row in counts]
    right = percent(float(counts.trace() / max(counts.sum(), 1)))
    label = f"Confusion matrix of {count(len(classes), 'class', 'classes')}: {right} of the rows are on the diagonal."
    caption = "Rows by true class and by predicted class; the colour is the share of the true class."
    svg = HeatMap(shares, cells, classes, classes, "predicted class", "true class").draw("confusion", label)
    return Picture(svg, "Confusion matrix", caption)


def _longest(labels: Sequence[str]) -> int:
    """Letters of the longest label as it is shown; those of East Asia are twice as wide."""
    shown = [short(label, LONGEST) for label in labels]
    return max(sum(2 if east_asian_width(letter) in "WF" else 1 for letter in label) for label in shown)


def _favourites(values: np.ndarray, classes: Sequence[str], limit: int = 12) -> str:
    """The first choice of each class, for as many classes as a listener has patience for."""
    known = [row for row in range(len(values)) if not np.isnan(values[row]).all()][:limit]
    told = ", ".join(f"{short(classes[row], LONGEST)} to expert {np.nanargmax(values[row])}" for row in known)
    return f"Most of the weight goes, for {'the first classes' if len(classes) > limit else 'each class'}: {told}."
