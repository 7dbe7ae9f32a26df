"""Pictures of one trained model: the use of its experts, and its calibration."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gatewise.reporting.html.blocks import Picture
from gatewise.reporting.html.svg import FIRST, INK, MUTED, SECOND, draw
from gatewise.reporting.schemas.fields import as_array
from gatewise.reporting.schemas.run import GapBins, Reliability
from gatewise.wording import count, percent

if TYPE_CHECKING:  # half a second that only drawing needs
    from matplotlib.figure import Figure


def expert_use(share: Sequence[float | None], mean_gate: Sequence[float | None]) -> Picture:
    """Bars for each expert: the share of rows that it is the first choice of, and its mean weight."""
    shares, weights = as_array(share), as_array(mean_gate)
    experts = np.arange(len(shares))

    def paint(figure: "Figure") -> None:
        axes = figure.subplots()
        axes.bar(experts - 0.2, np.nan_to_num(shares), 0.4, color=FIRST, label="share of rows")
        axes.bar(experts + 0.2, np.nan_to_num(weights), 0.4, color=SECOND, label="mean gate")
        axes.axhline(1 / len(experts), color=INK, linewidth=1, linestyle=":", label="even use")
        axes.set(xlabel="expert", xlim=(-0.7, len(experts) - 0.3))
        axes.set_xticks(experts[:: math.ceil(len(experts) / 16)])
        axes.grid(visible=False, axis="x")
        figure.legend(loc="outside upper left", ncols=3)

    extremes = f"{_extremes('Share of rows', shares)} {_extremes('Mean gate', weights)}"
    label = f"Bars for {count(len(experts), 'expert')}. {extremes}"
    caption = (
        "Share of rows: on how many the expert is the gate's first choice. Mean gate: the weight it gets on average. "
        "Experts are counted from 0."
    )
    return Picture(draw("expert-use", label, 340, 250, paint), "Use of each expert", caption)


def reliability_diagram(reliability: Reliability, of: str = "") -> Picture:
    """Accuracy against confidence, and below it how many rows had which confidence; `of` says of what."""
    confidence, accuracy = as_array(reliability.confidence), as_array(reliability.accuracy)
    counts = as_array(reliability.count)
    edges = np.linspace(0, 1, len(counts) + 1)

    def paint(figure: "Figure") -> None:
        upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":", label="as sure as right")
        upper.plot(confidence, accuracy, color=FIRST, linewidth=0.8, alpha=0.5)
        upper.scatter(confidence, accuracy, s=8 + 90 * counts / max(counts.max(), 1), color=FIRST, label="model")
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
        "above it too modest. A large dot stands for many rows."
    )
    name, title = (f"reliability-{of}", f"Reliability, {of}") if of else ("reliability", "Reliability")
    return Picture(draw(name, label, 340, 300, paint), title, caption)


def bound_gaps(gaps: GapBins) -> Picture:
    """Bars for each bin of the bound gap: its share of the rows, and of all that the bound gives away."""
    rows, nats = as_array(gaps.count), np.nan_to_num(as_array(gaps.total))
    shares, parts = (values / (values.sum() or 1.0) for values in (rows, nats))
    bins = np.arange(len(rows))
    names = [f"< {gaps.edges[0]:g}", *(f"{edge:g}" for edge in gaps.edges)]

    def paint(figure: "Figure") -> None:
        axes = figure.subplots()
        axes.bar(bins - 0.2, shares, 0.4, color=FIRST, label="share of rows")
        axes.bar(bins + 0.2, parts, 0.4, color=SECOND, label="share of the whole gap")
        axes.set(xlabel="gap of a row from, in nats", ylim=(0, 1))
        axes.set_xticks(bins, names, rotation=45 if len(bins) > 6 else 0)
        axes.grid(visible=False, axis="x")
        figure.legend(loc="outside upper left", ncols=2)

    most, heaviest = int(shares.argmax()), int(parts.argmax())
    label = (
        f"Bars for {count(len(bins), 'bin')} of the bound gap of {count(rows.sum(), 'row')}: {percent(shares[most])} "
        f"of the rows lie {_between(gaps, most)}, and {percent(parts[heaviest])} of the whole gap comes from the "
        f"{percent(shares[heaviest])} of the rows that lie {_between(gaps, heaviest)}."
    )
    caption = (
        "By how much the Jensen bound of a row lies below its own log-likelihood. Where few rows hold most of the gap, "
        "the experts disagree on these alone."
    )
    return Picture(draw("bound-gaps", label, 340, 300, paint), "Bound gap by example", caption)


def _between(gaps: GapBins, place: int) -> str:
    """The limits of a bin in words."""
    if place == 0:
        return f"below {gaps.edges[0]:g} nats"
    if place == len(gaps.edges):
        return f"above {gaps.edges[-1]:g} nats"
    return f"between {gaps.edges[place - 1]:g} and {gaps.edges[place]:g} nats"


def _extremes(name: str, values: np.ndarray) -> str:
    if np.isnan(values).all():
        return f"{name}: unknown."
    most, least = np.nanargmax(values), np.nanargmin(values)
    return f"{name}: most, {values[most]:.3f}, for expert {most}; least, {values[least]:.3f}, for expert {least}."
