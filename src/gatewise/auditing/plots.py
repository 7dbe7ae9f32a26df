"""An audit drawn on matplotlib axes: bias with its interval, bias² and variance, error against evaluations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gatewise.auditing.verdict import Row, name
from gatewise.errors import GatewiseError
from gatewise.wording import instead, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE = 17.0
"""Pixels that a row needs."""

FLOOR = 1e-6
"""An error below this is drawn here: a logarithmic axis has no 0."""

CUT = 3.0
"""Bars end at so many times the median error; what is cut is written at their end."""

LONGEST = 46
"""Letters of a name beside a picture."""

MOST = 60
"""More rows cannot be read; those with the least error stay."""


@dataclass(frozen=True)
class Colours:
    """What a picture is drawn in: names that matplotlib knows."""

    first: str = "C0"
    second: str = "C1"
    ink: str = "black"
    muted: str = "grey"


def bias(axes: "Axes", rows: Sequence[Row], colours: Colours) -> None:
    """The relative bias of every setting with its 95 % interval, and a line at 0."""
    rows = arranged(rows)
    places = np.arange(len(rows))
    for biased, colour, said in ((True, colours.second, "biased"), (False, colours.first, "no bias found")):
        chosen = [place for place in places if rows[place]["biased"] == biased]
        values = np.array([[rows[place][f"relative_bias{end}"] for place in chosen] for end in ("", "_low", "_high")])
        if chosen:
            spread = np.clip([values[0] - values[1], values[2] - values[0]], 0, None)
            style = {"fmt": "o", "markersize": 3.5, "linewidth": 1.2, "color": colour}
            axes.errorbar(values[0], chosen, xerr=spread, label=said, **style)
    axes.axvline(0, color=colours.ink, linewidth=1)
    axes.set_xscale("symlog", linthresh=0.1, linscale=0.7)
    ticks = [0, 0.05, 0.1, 0.3, 1, 3, 10]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(-0.004, max(1.0, 1.1 * max(min(row["relative_bias_high"], 10.0) for row in rows)))
    axes.set_xlabel("‖E ĝ − g‖ / ‖g‖")
    _name_rows(axes, rows)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)


def error(axes: "Axes", rows: Sequence[Row], colours: Colours) -> None:
    """The mean squared error of one estimate as bias² and variance, stacked."""
    rows = arranged(rows)
    places = np.arange(len(rows))
    variance = np.array([row["relative_std"] ** 2 for row in rows])
    squared = np.clip([row["relative_mse"] for row in rows] - variance, 0, None)
    noisy = [each for each in squared + variance if each > FLOOR]
    end = CUT * float(np.median(noisy)) if noisy else 1.0
    axes.barh(places, squared, 0.7, color=colours.second, label="bias²")
    axes.barh(places, variance, 0.7, left=squared, color=colours.first, label="variance")
    for place, total in zip(places, squared + variance, strict=True):
        if total > end:
            axes.annotate(f"→ {total:.3g}", (1.01 * end, place), va="center", fontsize=9, annotation_clip=False)
    axes.set_xlim(0, end)
    axes.set_xlabel("E ‖ĝ − g‖² / ‖g‖², of one estimate")
    _name_rows(axes, rows)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)


def cost(axes: "Axes", rows: Sequence[Row], colours: Colours) -> None:
    """The root mean squared error against evaluations an example, with the best at each number joined."""
    from matplotlib.ticker import LogLocator

    points = [(row["cost"], max(row["relative_mse"], FLOOR) ** 0.5, row["unbiased"]) for row in rows]
    for unbiased, colour, said in ((True, colours.first, "unbiased by theory"), (False, colours.second, "not")):
        chosen = [point[:2] for point in points if point[2] == unbiased]
        if chosen:
            axes.scatter(*zip(*chosen, strict=True), s=22, color=colour, alpha=0.75, label=said)
    least, frontier = np.inf, []
    for evaluations, height, _ in sorted(points):
        if height < least:
            least = height
            frontier.append((evaluations, height))
    axes.step(*zip(*frontier, strict=True), where="post", color=colours.muted, linewidth=1, linestyle=":")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter("")
    axes.set_xlabel("evaluations an example, by their cost")
    axes.set_ylabel("√(E ‖ĝ − g‖²) / ‖g‖")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)


KINDS = {"bias": bias, "error": error, "cost": cost}


def draw_on(audit: Mapping[str, Any], ax: Any, kind: str) -> tuple[Any, Any]:
    """Draw on given axes, or on a new figure where `ax` is None: the figure and its axes.

    Raises:
        GatewiseError: for an unknown kind.
    """
    if kind not in KINDS:
        raise GatewiseError(f"unknown kind of picture {kind!r}{instead(str(kind), KINDS)}")
    rows = audit["rows"]
    from matplotlib.axes import Axes

    if isinstance(ax, Axes):
        KINDS[kind](ax, rows, Colours())
        return ax.figure, ax
    if ax is None:
        from matplotlib import pyplot

        _, ax = pyplot.subplots(1, len(KINDS), figsize=(17, height_of(rows)), layout="constrained")
    for each, axes in zip(KINDS.values(), ax, strict=True):
        each(axes, rows, Colours())
    return ax[0].figure, ax


def height_of(rows: Sequence[Any]) -> float:
    """Inches of a picture in which every row can be read."""
    return max(4.0, LINE * min(len(rows), MOST) / 72 + 1.2)


def arranged(rows: Sequence[Row]) -> list[Row]:
    """The rows as a picture has them, from below: estimators by their best setting, within one by λ and S."""
    kept = sorted(rows, key=lambda row: row["relative_mse"])[:MOST]
    rank = {row["estimator"]: place for place, row in reversed(list(enumerate(kept)))}
    ordered = sorted(kept, key=lambda row: (rank[row["estimator"]], row["label"], row["temperature"] or 0))
    return ordered[::-1]


def _name_rows(axes: "Axes", rows: Sequence[Row]) -> None:
    axes.set_yticks(range(len(rows)), [short(name(row), LONGEST) for row in rows], fontsize=9.5)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.grid(visible=False, axis="y")
