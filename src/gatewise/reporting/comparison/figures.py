"""Pictures of a comparison: every seed of every combination, and the course of every cell."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gatewise.reporting.html.blocks import Picture
from gatewise.reporting.html.svg import draw
from gatewise.reporting.plots.learning_curves import History
from gatewise.reporting.plots.overlays import NAME, WIDTH, Course, course_picture, line, style
from gatewise.reporting.schemas.comparison import ComparisonSchema
from gatewise.reporting.schemas.fields import as_array
from gatewise.wording import count, number, short

if TYPE_CHECKING:  # half a second that only drawing needs
    from matplotlib.figure import Figure

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
        whole=True,
    ),
)


def forest(comparison: ComparisonSchema) -> Picture | None:
    """A row a combination: a dot for each seed's NLL, and the mean with its interval."""
    shown = [(each, figures) for each in comparison.finished if (figures := comparison.figures(each)) is not None]
    if not shown:
        return None

    def paint(figure: "Figure") -> None:
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
        axes.locator_params("x", nbins=6)

    means = "; ".join(f"{short(each.name, NAME)}: {number(figures.nll.mean, 4)}" for each, figures in shown)
    label = f"NLL on the {comparison.judged} rows of {count(len(shown), 'combination')}, mean over seeds: {means}."
    interval = f"the line is the {100 * comparison.confidence:.0f} % interval of the mean. "
    caption = (
        f"A dot is a seed, the bar their mean{'; ' + interval if len(comparison.seeds) > 1 else '. '}"
        "Seeds differ in their split too, so overlapping lines do not mean that two cannot be told apart: the table's "
        "last column compares them seed by seed."
    )
    return Picture(draw("forest", label, WIDTH, 60 + 38 * len(shown), paint), "NLL of every seed", caption)


def curves(comparison: ComparisonSchema, histories: Mapping[str, History]) -> list[Picture | None]:
    """The course of every cell; `histories` has the epochs by the cell's folder."""
    return [_course(comparison, histories, course) for course in COURSES]


def _course(comparison: ComparisonSchema, histories: Mapping[str, History], course: Course) -> Picture | None:
    finished = comparison.finished
    lines = [
        line(place, histories.get(cell.folder, []), course)
        for place, combination in enumerate(finished)
        for cell in comparison.done(combination)
    ]
    names = {place: combination.name for place, combination in enumerate(finished)}
    return course_picture(course, [each for each in lines if each is not None], names, "cell")
