"""An audit as lines of text: for `print`, and for the terminal."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

Contents = Mapping[str, Any]
"""What `Audit.to_dict` gives."""

SHOWN = 15
"""Settings of a table that a person reads; the others are few to miss."""
EXACT = 1e-9
HEADER = ("estimator", "S", "λ", "bias", "95 %", "scale", "error", "runs", "ms")
LEGEND = (
    "bias: ‖E ĝ − g‖/‖g‖, * beyond doubt; scale: ⟨E ĝ, g⟩/‖g‖², right at 1; error: E ‖ĝ − g‖²/‖g‖² of one estimate; "
    "runs: {what} an example; ms: forward and backward"
)
WIDTH = 100


def shown(contents: Contents) -> list[Mapping[str, Any]]:
    """The first `SHOWN` rows in the order to be read, the one that is recommended and this run's own with them."""
    rows, best = contents["rows"], contents["recommended"]
    first = contents["order"][:SHOWN]
    sought = [
        place
        for place in contents["order"][SHOWN:]
        if rows[place]["own"] or all(rows[place][key] == best[key] for key in ("estimator", "num_samples", "options"))
    ]
    return [rows[place] for place in [*first, *sought]]


def order_line(contents: Contents, where: str) -> str:
    """How the rows are ordered, and where those are that are not shown."""
    rows, most = contents["rows"], contents["max_evaluations"]
    said = "In order of the error of the mean of as many estimates as cost what one exact gradient costs"
    if any(row["evaluations_at_most"] > most for row in rows):
        said += f"; those that run more than {most} come after"
    if not all(row["usable"] for row in rows):
        said += "; last those whose mean is no gradient to follow"
    left = len(rows) - len(shown(contents))
    return f"{said}. {_count(left, 'more setting')}: {where}." if left else f"{said}."


def cells(row: Mapping[str, Any]) -> list[str]:
    """What stands in the table of a row, under `HEADER`."""
    low, high = 100 * row["relative_bias_low"], 100 * row["relative_bias_high"]
    return [
        ("→ " if row["own"] else "") + row["label"].replace(":", " "),
        str(row["num_samples"]),
        "" if row["temperature"] is None else f"{row['temperature']:g}",
        f"{100 * row['relative_bias']:.3g}%{'*' if row['biased'] else ' '}",
        f"{low:.3g}–{high:.3g}",
        f"{1 + row['relative_scale']:.2f}",
        f"{row['relative_mse']:.3g}" if row["relative_mse"] > EXACT else "0",
        f"{row['evaluations']:.1f}",
        f"{1e3 * row['seconds']:.1f}",
    ]


def legend(contents: Contents) -> str:
    """What the columns say."""
    own = "; → the estimator of this run" if any(row["own"] for row in contents["rows"]) else ""
    return LEGEND.format(what=_what(contents)) + own


def as_text(contents: Contents) -> str:
    """Heading, table, what to use and why, and notes."""
    level = "logits" if contents["level"] == "logits" else "gate's parameters"
    heading = (
        f"Audit of {_count(len(contents['rows']), 'setting')} against the exact gradient for the {level}: "
        f"{_count(contents['examples'], 'example')}, K = {contents['num_categories']}"
    )
    table = _table([list(HEADER), *(cells(row) for row in shown(contents))])
    said = ("\n".join(textwrap.wrap(line, WIDTH)) for line in sentences(contents))
    return "\n".join([heading, "", *table, "", *said])


def sentences(contents: Contents) -> list[str]:
    """The order of the rows and what the columns say, what to use and why, what must be known to read it."""
    use = "Use" if contents["recommended"]["estimator"] else "There is no estimator to use:"
    return [
        order_line(contents, "audit.to_frame()"),
        legend(contents) + ".",
        f"{use} {contents['recommended']['reason']}.",
        *contents["notes"],
        *(f"Not audited, {refused['estimator']}: {refused['reason']}" for refused in contents["skipped"]),
    ]


def _table(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _what(contents: Contents) -> str:
    return "experts" if contents["mixture"] else "categories"
