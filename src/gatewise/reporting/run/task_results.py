"""The results of a run that predicts numbers, or several labels at once."""

from collections.abc import Sequence

from gatewise.reporting.html.blocks import Paragraph, Section, Stack, Table, TableRow
from gatewise.reporting.schemas.run import Metrics
from gatewise.wording import measure, number, percent, short

LABELS_NOTE = (
    "Mixture: all experts answer, weighted by the gate. Top-1: only the expert the gate likes best answers. Accuracy: "
    "how often a single label is right, with a label predicted where its probability is above one half. NLL (negative "
    "log-likelihood): minus the log of the probability given to all true labels of a row together, in nats (natural "
    "logarithm); lower is better."
)

LABELS_MEASURES = (
    ("all labels right", "exact_match", "share of rows", percent),
    ("AUC", "auc", "the mean of each label's own; 1 is best, 0.5 is chance", number),
    ("average precision", "average_precision", "the mean of each label's own; 1 is best", number),
    ("F1, micro", "f1_micro", "over all labels of all rows; 1 is best", number),
    ("F1, macro", "f1_macro", "the mean of each label's own", number),
    ("Brier score", "brier", "mean squared error of a label's probability; 0 is best", number),
    ("rows", "rows", "that the measures were taken on", lambda rows: number(rows, 0)),
)

NAME, MOST = 60, 50
"""Letters of a label, and labels that have a row of the table."""

NUMBERS_NOTE = (
    "NLL (negative log-likelihood): minus the log of the density given to the true number, or of a count's "
    "probability, in nats; lower is better. A density depends on the target's unit, so the NLL may be below 0. RMSE "
    "and MAE are of the mean. CRPS (continuous ranked probability score): how far the whole distribution is from the "
    "true number, in its unit; 0 is best. An interval that promises 90\N{NO-BREAK SPACE}% should hold about so many "
    "rows, and be narrow."
)
NUMBERS_MEASURES = (
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


def results_of_numbers(parts: Sequence[tuple[str, Metrics]], gate: Sequence[TableRow]) -> Section:
    """How well numbers are predicted, on each part of the rows that was not trained on."""
    header = ["", *(part for part, _ in parts)]
    rows = [
        TableRow(name, [show(getattr(metrics, key)) for _, metrics in parts], note)
        for name, key, note, show in NUMBERS_MEASURES
        if any(getattr(metrics, key) is not None for _, metrics in parts)
    ]
    return Section(
        "Results",
        [
            Paragraph(NUMBERS_NOTE),
            Table("The prediction", header, rows),
            *([Table("The gate", header, gate)] if gate else []),
        ],
    )


def results_of_labels(parts: Sequence[tuple[str, Metrics]], gate: Sequence[TableRow]) -> Section:
    """How well labels are predicted, on each part of the rows that was not trained on."""
    header = ["", *(part for part, _ in parts)]
    answers = [row for part, metrics in parts for row in _answers(part, metrics)]
    others = [
        TableRow(name, [show(getattr(m, key)) for _, m in parts], note) for name, key, note, show in LABELS_MEASURES
    ]
    tables = [Table("Who answers", ["", "mixture", "top-1"], answers), Table("Labels together", header, others)]
    return Section(
        "Results",
        [
            Paragraph(LABELS_NOTE),
            Stack(tables),
            *([_each(*parts[0])] if parts[0][1].labels else []),
            *([Table("The gate", header, gate)] if gate else []),
        ],
    )


def _answers(part: str, metrics: Metrics) -> list[TableRow]:
    return [
        TableRow(f"accuracy, {part}", [percent(metrics.accuracy), percent(metrics.accuracy_top1)]),
        TableRow(f"NLL, {part}", [number(metrics.nll), number(metrics.nll_top1)]),
    ]


def _each(part: str, metrics: Metrics) -> Table:
    """The labels one by one."""
    rows = [
        TableRow(
            short(each.name, NAME), [percent(each.share), percent(each.accuracy), number(each.f1), number(each.auc)]
        )
        for each in metrics.labels[:MOST]
    ]
    left_out = f", the first {MOST} of {len(metrics.labels)}" if len(metrics.labels) > MOST else ""
    return Table(f"Each label, {part} rows{left_out}", ["", "have it", "accuracy", "F1", "AUC"], rows)
