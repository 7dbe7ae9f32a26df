"""Pictures of a comparison: every seed of every combination, and the course of every cell."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from gatewise.reporting.blocks import Picture
from gatewise.reporting.comparison.schema import Comparison
from gatewise.reporting.curves import History
from gatewise.reporting.fields import as_array, finite
from gatewise.reporting.svg import MUTED, SERIES, draw
from gatewise.reporting.wording import count, number, short

WIDTH = 350
POINTS = 8_000  # of all lines of a picture together: a page of many cells stays small
DECADE = 10  # a wider range of NLL is drawn on a logarithmic axis
APART = 0.04  # experts: lines that would cover each other are moved by so much
LINES = ("-", "--", ":", "-.")  # when the colours are used up, their dashes differ
NAME = 42  # letters that have room


@dataclass(frozen=True)
class Course:
    """A key of metrics.jsonl against another."""

    name: str
    title: str
    x: str
    y: str
    unit: str
    caption: str
    log: bool = False


COURSES = (
    Course(
        "by-epoch",
        "Validation NLL by epoch",
        "epoch",
        "validation_nll",
        "nats an example",
        "One line a cell, one colour a combination. A line ends where training stopped.",
        log=True,
    ),
    Course(
        "by-second",
        "Validation NLL by time",
        "seconds",
        "validation_nll",
        "nats an example",
        "The same against the seconds of training, on whatever the machine did beside it.",
        log=True,
    ),
    Course(
        "used",
        "Experts used by epoch",
        "epoch",
        "validation_experts_used",
        "experts",
        "Experts that are the gate's first choice on at least a tenth of an even share of the validation rows. Equal "
        "lines are drawn a little below each other.",
    ),
)


def style(index: int) -> dict[str, Any]:
    """The colour, and beyond the last colour the dashes, of a combination by its place in the order."""
    return {"color": SERIES[index % len(SERIES)], "linestyle": LINES[index // len(SERIES) % len(LINES)]}


def forest(comparison: Comparison) -> Picture | None:
    """A row a combination: a dot for each seed's NLL, and the mean with its interval."""
    shown = [(each, figures) for each in comparison.finished if (figures := comparison.figures(each)) is not None]
    if not shown:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for index, (combination, figures) in enumerate(shown):
            colour = style(index)["color"]
            seeds = [m.nll for cell in comparison.done(combination) if (m := comparison.metrics(cell)) is not None]
            axes.scatter(as_array(seeds), np.full(len(seeds), index), s=22, color=colour, alpha=0.55, linewidths=0)
            if figures.nll.low is not None:
                axes.plot(as_array([figures.nll.low, figures.nll.high]), [index, index], color=colour, linewidth=1.6)
            axes.plot(as_array([figures.nll.mean]), [index], color=colour, marker="|", markersize=13, markeredgewidth=2)
            name = short(combination.name, NAME)
            axes.text(0, index - 0.28, name, transform=axes.get_yaxis_transform(), fontsize=10, va="bottom")
        axes.set(ylim=(len(shown) - 0.5, -0.9), xlabel=f"NLL on the {comparison.judged} rows, nats an example")
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(6))

    means = "; ".join(f"{short(each.name, NAME)}: {number(figures.nll.mean, 4)}" for each, figures in shown)
    label = f"NLL on the {comparison.judged} rows of {count(len(shown), 'combination')}, mean over seeds: {means}."
    interval = f"the line is the {100 * comparison.confidence:.0f} % interval of the mean. "
    caption = (
        f"A dot is a seed, the bar their mean{'; ' + interval if len(comparison.seeds) > 1 else '. '}"
        "Seeds differ in their split too, so overlapping lines do not mean that two cannot be told apart: the table's "
        "last column compares them seed by seed."
    )
    return Picture(draw("forest", label, WIDTH, 60 + 38 * len(shown), paint), "NLL of every seed", caption)


def curves(comparison: Comparison, histories: Mapping[str, History]) -> list[Picture | None]:
    """The course of every cell; `histories` has the epochs by the cell's folder."""
    return [_course(comparison, histories, course) for course in COURSES]


def _course(comparison: Comparison, histories: Mapping[str, History], course: Course) -> Picture | None:
    lines = [
        (index, *points)
        for index, combination in enumerate(comparison.finished)
        for cell in comparison.done(combination)
        if (points := _points(histories.get(cell.folder, []), course)) is not None
    ]
    if not lines:
        return None
    most = max(20, POINTS // len(lines))

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for index, x, y in lines:
            kept = np.unique(np.linspace(0, len(x) - 1, min(most, len(x))).astype(int))
            lonely = "o" if len(x) == 1 else ""  # a line through one point cannot be seen
            moved = 0.0 if course.log else APART * (index % len(SERIES))
            axes.plot(x[kept], y[kept] - moved, **style(index), linewidth=1.2, alpha=0.85, marker=lonely)
        least, largest = min(y.min() for _, _, y in lines), max(y.max() for _, _, y in lines)
        if course.log and 0 < DECADE * least < largest:
            _logarithmic(axes)
        elif not course.log:
            axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set(xlabel=course.x, ylabel=course.unit)
        names = {index: short(comparison.finished[index].name, NAME) for index, _, _ in lines}
        handles = [Line2D([], [], label=name, **style(index)) for index, name in names.items()]
        figure.legend(handles=handles, loc="outside upper left")

    drawn = sorted({index for index, _, _ in lines})
    label = f"{course.title}, {count(len(lines), 'cell')}. " + "; ".join(
        f"{short(comparison.finished[index].name, NAME)} ends at {_ends(lines, index)}" for index in drawn
    )
    height = 230 + 17 * len(drawn)
    return Picture(draw(course.name, label, WIDTH, height, paint), course.title, course.caption)


def _points(history: History, course: Course) -> tuple[np.ndarray, np.ndarray] | None:
    """The epochs that have both numbers."""
    x, y = (as_array([finite(epoch.get(key)) for epoch in history]) for key in (course.x, course.y))
    known = np.isfinite(x) & np.isfinite(y)
    return (x[known], y[known]) if known.any() else None


def _ends(lines: list[tuple[int, np.ndarray, np.ndarray]], wanted: int) -> str:
    return ", ".join(number(float(y[-1])) for index, _, y in lines if index == wanted)


def _logarithmic(axes: Axes) -> None:
    """A logarithmic axis whose labels are plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params("y", which="minor", color=MUTED)
