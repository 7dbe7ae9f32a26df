"""The pictures of an audit as its page shows them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gatewise.auditing.plots import FLOOR, LINE, MOST, Colours, bias, cost, error
from gatewise.auditing.verdict import name
from gatewise.reporting.html.blocks import Picture
from gatewise.reporting.html.svg import FIRST, INK, MUTED, SECOND, draw
from gatewise.wording import count

if TYPE_CHECKING:  # half a second that only drawing needs
    from matplotlib.figure import Figure

WIDE = 545.0
"""Pixels: two such pictures stand side by side."""


PAGE = Colours(FIRST, SECOND, INK, MUTED)


def pictures(audit: Mapping[str, Any]) -> list[Picture]:
    """The three as the page shows them."""
    rows = audit["rows"]
    tall = 75 + LINE * min(len(rows), MOST)
    biased = sum(row["biased"] for row in rows)
    left_out = f" The {MOST} with the least error of {len(rows)}." if len(rows) > MOST else ""
    told = (
        f"{count(biased, 'setting')} of {len(rows)} biased; the least error is that of {name(rows[0])}, "
        f"the most that of {name(rows[-1])}."
    )
    return [
        _picture(
            "audit-bias",
            "Bias",
            (WIDE, tall),
            f"Bias with its 95 % interval. {told}",
            "How far the mean of the estimates is from the exact gradient, in units of its length, with 95 % "
            "intervals. A bias does not average out, however many steps are taken." + left_out,
            lambda axes: bias(axes, rows, PAGE),
        ),
        _picture(
            "audit-error",
            "Bias² and variance",
            (WIDE, tall),
            f"Bias squared and variance of every setting, stacked. {told}",
            "What the error of one estimate is made of. Variance averages out over rows and steps; bias² stays. "
            "A number at the end tells the length of a bar that is cut." + left_out,
            lambda axes: error(axes, rows, PAGE),
        ),
        _picture(
            "audit-cost",
            "Error against evaluations",
            (420, 320),
            f"Root mean squared error of every setting against evaluations an example. {told}",
            "Each dot is a setting; the dotted line joins the least error for each number of evaluations."
            + (f" An exact one is drawn at {FLOOR**0.5:g}." if rows[0]["relative_mse"] < FLOOR else ""),
            lambda axes: cost(axes, rows, PAGE),
        ),
    ]


def _picture(key: str, title: str, size: tuple[float, float], told: str, caption: str, paint: Any) -> Picture:
    def on_figure(figure: "Figure") -> None:
        paint(figure.subplots())

    return Picture(draw(key, told, *size, on_figure), title, caption)
