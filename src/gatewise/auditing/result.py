"""The result of an audit, and the forms in which a person looks at it."""

import base64
import html
import io
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from gatewise.auditing.grid import Refused
from gatewise.auditing.recommendation import Recommendation, order
from gatewise.auditing.row import Row
from gatewise.auditing.text import HEADER, as_text, cells, sentences, shown

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True, repr=False)
class Audit:
    """What `audit` found.

    Attributes:
        rows: one for each setting, by rising mean squared error.
        recommended: the estimator to use.
        by_evaluations: the recommendation for each number of evaluations at which it changes.
        skipped: what could not be audited, and why.
        notes: what could void the figures, or must be known to read them.
        level: "logits" or "parameters".
        examples: in the batch.
        num_categories: K.
        size: D, numbers of the gradient.
        mixture: the Jensen bound of a mixture was audited.
        seconds: it took.

    >>> import torch
    >>> import gatewise as gw
    >>> found = gw.audit(lambda point: point[..., 0] ** 2, torch.zeros(1, 2), ["score-function"], repetitions=128)
    >>> found.level, found.num_categories, found.recommended.estimator
    ('logits', 2, 'score-function')
    """

    rows: list[Row]
    recommended: Recommendation
    by_evaluations: list[tuple[int, Recommendation]]
    skipped: list[Refused]
    notes: list[str]
    level: str
    examples: int
    num_categories: int
    size: int
    mixture: bool
    max_evaluations: int
    precision: float
    seed: int
    seconds: float
    figure_: Any = field(default=None, init=False, repr=False, compare=False)
    axes_: Any = field(default=None, init=False, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        plain = ("notes", "level", "examples", "num_categories", "size", "mixture", "max_evaluations", "precision")
        return {
            "rows": [row.to_dict() for row in self.rows],
            "recommended": self.recommended.to_dict(),
            "by_evaluations": [
                {"evaluations": most, "row": best.row, **best.to_dict()} for most, best in self.by_evaluations
            ],
            "order": order(self.rows, self.max_evaluations),
            "skipped": [asdict(refused) for refused in self.skipped],
            **{name: getattr(self, name) for name in (*plain, "seed", "seconds")},
        }

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    def to_frame(self) -> "polars.DataFrame":
        """The rows as a polars data frame; options as JSON text."""
        import polars

        rows = [row.to_dict() | {"options": json.dumps(row.options, default=str)} for row in self.rows]
        return polars.DataFrame(rows, infer_schema_length=None)

    def plot(self, ax: Any = None, kind: str = "bias") -> "Audit":
        """Draw it with matplotlib, and keep the drawing in `figure_` and `axes_`.

        Args:
            ax: matplotlib axes for one picture, or a sequence of three for all; None makes a figure with all three.
            kind: which picture, where `ax` is one: "bias" (with intervals and a line at 0), "error" (bias² and
                variance, stacked), or "cost" (error against evaluations).

        Returns:
            The audit itself.

        Raises:
            GatewiseError: for an unknown kind.
        """
        from gatewise.auditing.plots import draw_on

        figure, axes = draw_on(self.to_dict(), ax, kind)
        object.__setattr__(self, "figure_", figure)
        object.__setattr__(self, "axes_", axes)
        return self

    def __repr__(self) -> str:
        """The best settings as a table, what to use and why, and what must be known to read them."""
        return as_text(self.to_dict())

    def _repr_html_(self) -> str:
        """The audit as a notebook shows it: pictures, the best settings as a table, what to use and why, and notes."""
        from matplotlib.figure import Figure

        from gatewise.auditing.plots import draw_on, height_of

        contents, picture = self.to_dict(), io.BytesIO()
        # a figure of no pyplot: a notebook would show it a second time
        figure = Figure(figsize=(15, height_of(self.rows)), layout="constrained")
        draw_on(contents, figure.subplots(1, 3), "bias")
        figure.savefig(picture, format="svg")
        # as an image, since ids within an SVG are shared by all of a page
        data = base64.b64encode(picture.getvalue()).decode()
        image = f'<img alt="bias, error, cost" src="data:image/svg+xml;base64,{data}" />'
        lines = [("th", HEADER), *(("td", cells(row)) for row in shown(contents))]
        rows = ["".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in line) for tag, line in lines]
        table = f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"
        return image + table + "".join(f"<p>{html.escape(line)}</p>" for line in sentences(contents))
