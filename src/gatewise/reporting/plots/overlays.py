"""The courses of several trainings in one picture: a key of metrics.jsonl against another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gatewise.reporting.html.blocks import Picture
from gatewise.reporting.html.svg import MUTED, SERIES, draw
from gatewise.reporting.plots.learning_curves import History
from gatewise.reporting.schemas.fields import as_array, finite
from gatewise.wording import count, number, short

if TYPE_CHECKING:  # half a second that only drawing needs
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 350
POINTS = 8_000  # of all lines of a picture together: a page of many trainings stays small
DECADE = 10  # a wider range is drawn on a logarithmic axis, where there may be one
APART = 0.04  # whole numbers: lines that would cover each other are moved by so much
LINES = ("-", "--", ":", "-.")  # when the colours are used up, their dashes differ
NAME = 42  # letters that have room


@dataclass(frozen=True)
class Course:
    """A key of metrics.jsonl against another; `whole`: of whole numbers, `log`: the axis may be logarithmic."""

    name: str
    title: str
    x: str
    y: str
    unit: str
    caption: str
    log: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Line:
    """One training: the place of its name, and its points."""

    place: int
    x: np.ndarray
    y: np.ndarray


def style(index: int) -> dict[str, Any]:
    """The colour, and beyond the last colour the dashes, of a combination by its place in the order."""
    return {"color": SERIES[index % len(SERIES)], "linestyle": LINES[index // len(SERIES) % len(LINES)]}


def line(place: int, history: History, course: Course) -> Line | None:
    """The epochs that have both numbers; None where none has."""
    x, y = (as_array([finite(epoch.get(key)) for epoch in history]) for key in (course.x, course.y))
    known = np.isfinite(x) & np.isfinite(y)
    return Line(place, x[known], y[known]) if known.any() else None


def course_picture(course: Course, lines: Sequence[Line], names: Mapping[int, str], noun: str) -> Picture | None:
    """All lines in one picture, those of one place in one colour; None where there is no line.

    Args:
        course: what is drawn.
        lines: of all trainings.
        names: by place.
        noun: what one training is called.
    """
    if not lines:
        return None
    most = max(20, POINTS // len(lines))
    drawn = sorted({each.place for each in lines})
    named = {place: short(names[place], NAME) for place in drawn}

    def paint(figure: "Figure") -> None:
        from matplotlib.lines import Line2D

        axes = figure.subplots()
        for each in lines:
            kept = np.unique(np.linspace(0, len(each.x) - 1, min(most, len(each.x))).astype(int))
            lonely = "o" if len(each.x) == 1 else ""  # a line through one point cannot be seen
            moved = APART * (each.place % len(SERIES)) if course.whole else 0.0
            how = style(each.place)
            axes.plot(each.x[kept], each.y[kept] - moved, **how, linewidth=1.2, alpha=0.85, marker=lonely)
        least, largest = min(each.y.min() for each in lines), max(each.y.max() for each in lines)
        if course.log and 0 < DECADE * least < largest:
            _logarithmic(axes)
        elif course.whole:
            axes.locator_params("y", nbins=8, integer=True)
        axes.set(xlabel=course.x, ylabel=course.unit)
        handles = [Line2D([], [], label=name, **style(place)) for place, name in named.items()]
        figure.legend(handles=handles, loc="outside upper left")

    ends = "; ".join(f"{name} ends at {_ends(lines, place)}" for place, name in named.items())
    label = f"{course.title}, {count(len(lines), noun)}. {ends}"
    svg = draw(course.name, label, WIDTH, 230 + 17 * len(drawn), paint)
    return Picture(svg, course.title, course.caption)


def _ends(lines: Sequence[Line], place: int) -> str:
    return ", ".join(number(float(each.y[-1])) for each in lines if each.place == place)


def _logarithmic(axes: "Axes") -> None:
    """A logarithmic axis whose labels are plain numbers."""
    from matplotlib.ticker import LogLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter("")
    axes.tick_params("y", which="minor", color=MUTED)
