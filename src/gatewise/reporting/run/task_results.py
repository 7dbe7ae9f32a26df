"""The results of a run that predicts numbers."""

from collections.abc import Sequence

from gatewise.reporting.html.blocks import Paragraph, Row, Section, Table
from gatewise.reporting.schemas.run import Metrics
from gatewise.wording import measure, number, percent

NOTE = (
    "NLL (negative log-likelihood): minus the log of the density given to the true number, or of a count's "
    "probability, in nats; lower is better. A density depends on the target's unit, so the NLL may be below 0. RMSE "
    "and MAE are of the mean. CRPS (continuous ranked probability score): how far the whole distribution is from the "
    "true number, in its unit; 0 is best. An interval that promises 90\N{NO-BREAK SPACE}% should hold about so many "
    "rows, and be narrow."
)
MEASURES = (
    ("NLL, mixture", "nll", "all experts answer, weighted by the gate", number),
    ("NLL, top-1", "nll_top1", "only the expert the gate likes best answers", number),
    ("RMSE", "rmse", "root mean squared error", measure),
    ("MAE", "mae", "mean absolute error", measure),
    ("R²", "r2", "share of the variance that the mean explains; 1 is best", number),
    ("CRPS", "crps", "", measure),
    ("Poisson deviance", "poisson_deviance", "of the mean; 0 is best", measure),
    ("in the 50\N{NO-BREAK SPACE}% interval", "coverage_50", "", percent),
    ("its width", "width_50", "mean, in the target's unit", measure),
    ("in the 90\N{NO-BREAK SPACE}% interval", "coverage_90", "", percent),
    ("its width ", "width_90", "mean, in the target's unit", measure),
    ("rows", "rows", "that the measures were taken on", lambda rows: number(rows, 0)),
)


def results_of_numbers(parts: Sequence[tuple[str, Metrics]], gate: Sequence[Row]) -> Section:
    """How well numbers are predicted, on each part of the rows that was not trained on."""
    header = ["", *(part for part, _ in parts)]
    rows = [
        Row(name, [show(getattr(metrics, key)) for _, metrics in parts], note)
        for name, key, note, show in MEASURES
        if any(getattr(metrics, key) is not None for _, metrics in parts)
    ]
    return Section(
        "Results",
        [Paragraph(NOTE), Table("The prediction", header, rows), *([Table("The gate", header, gate)] if gate else [])],
    )
