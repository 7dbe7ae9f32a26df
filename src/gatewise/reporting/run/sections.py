"""The sections after the verdict, each from the summary and what belongs to it. `page.page` has their order."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gatewise.reporting.html.blocks import Block, Command, Paragraph, Section, Stack, Table, TableRow
from gatewise.reporting.plots.bars import bound_gaps, expert_use, reliability_diagram
from gatewise.reporting.plots.heat_maps import confusion_matrix, experts_by_class, experts_by_label
from gatewise.reporting.plots.learning_curves import History, learning_pictures
from gatewise.reporting.run.task_results import results_of_labels, results_of_numbers
from gatewise.reporting.schemas.run import (
    CalibrationSchema,
    CoverageSchema,
    Metrics,
    ReseedingSchema,
    Summary,
    TemperatureSchema,
)
from gatewise.wording import count, number, percent, printable, setting, short

MOST = 8
"""Experts that are told one by one."""

MOST_CLASSES = 30  # a larger confusion matrix cannot be read
MOST_ROWS = 50  # classes in a table
NO_DETAILS = Paragraph("The run recorded no details of single experts and classes, so there is nothing to draw here.")


def results(summary: Summary) -> Section:
    """How well it does: mixture and top-1 side by side, then all other measures."""
    parts = _parts(summary)
    if not summary.data.classes:
        of_targets = results_of_labels if summary.data.labels else results_of_numbers
        return of_targets(parts, _measures(summary)[0] if summary.model.experts > 1 else [])
    answers = [
        row
        for part, metrics in parts
        for row in (
            _answer(f"accuracy, {part}", metrics.accuracy, metrics.accuracy_top1, percent),
            _answer(f"NLL, {part}", metrics.nll, metrics.nll_top1, number),
        )
    ]
    header = ["", *(part for part, _ in parts)]
    gate, calibration = _measures(summary)
    note = (
        "Mixture: all experts answer, weighted by the gate. Top-1: only the expert the gate likes best answers. "
        "Accuracy: how often the most probable class is the true one. NLL (negative log-likelihood): minus the log of "
        "the probability given to the true class, in nats (natural logarithm); lower is better."
    )
    return Section(
        "Results",
        [
            Paragraph(note),
            Stack([Table("Who answers", ["", "mixture", "top-1"], answers), Table("Calibration", header, calibration)]),
            *([_each_class(*parts[0])] if parts[0][1].classes else []),
            *([Table("The gate", header, gate)] if summary.model.experts > 1 else []),
        ],
    )


def _each_class(part: str, metrics: Metrics) -> Table:
    """The classes one by one."""
    rows = [
        TableRow(
            short(each.name, 60), [number(each.rows, 0), *map(number, (each.recall, each.precision, each.f1, each.auc))]
        )
        for each in metrics.classes[:MOST_ROWS]
    ]
    left_out = f", the first {MOST_ROWS} of {len(metrics.classes)}" if len(metrics.classes) > MOST_ROWS else ""
    return Table(
        f"Each class, {part} rows{left_out}", ["", "rows", "recall", "precision", "F1", "AUC"], rows, wide=True
    )


def learning(summary: Summary, history: History) -> Section:
    """The course of training."""
    pictures = learning_pictures(history, summary.best_epoch, summary.model.experts)
    told = course(summary)
    drawn = pictures or [Paragraph("No epoch was recorded, so there is nothing to draw.")]
    return Section("Learning curves", [*([Paragraph(told)] if told else []), *drawn])


def experts(summary: Summary) -> Section:
    """Who does the work."""
    title, details = "Use of the experts", summary.details
    if summary.model.experts == 1:
        return Section(title, [Paragraph("One expert answers every row.")])
    if details is None:
        return Section(title, [NO_DETAILS])
    use = expert_use(details.expert_share, details.mean_gate)
    labels = [label.name for label in summary.data.labels]
    by_label = [experts_by_label(details.gate_by_class, labels)] if labels else []
    by_class = [experts_by_class(details.gate_by_class, summary.data.classes)] if summary.data.classes else []
    return Section(title, [*by_class, *by_label, use])


def mistakes(summary: Summary) -> Section:
    """Whether its probabilities can be trusted, what it confuses, and on which rows the bound is loose."""
    title, details, classes = "Calibration and mistakes", summary.details, summary.data.classes
    if not classes:
        told = "How often intervals hold what they promise is told under Results; numbers have no classes to confuse."
        of_labels = "How often each label is right is told under Results; labels are not confused with each other."
        return Section(title, [Paragraph(of_labels if summary.data.labels else told)])
    if details is None or details.reliability is None:
        return Section(title, [NO_DETAILS])
    if len(classes) <= MOST_CLASSES:
        confusion = confusion_matrix(details.confusion, classes)
    else:
        confusion = Paragraph(
            f"The confusion matrix is not drawn: {len(classes)} classes, and more than {MOST_CLASSES} cannot be read. "
            "summary.json has it under details.confusion."
        )
    gaps = [bound_gaps(details.bound_gap)] if details.bound_gap and summary.model.experts > 1 else []
    return Section(title, [reliability_diagram(details.reliability), *trust(summary), confusion, *gaps])


def repeat(summary: Summary, environment: Mapping[str, Any]) -> Section:
    """What it takes to get these numbers again."""
    data = summary.data
    of = "of the files, whose rows were streamed" if data.streamed else "equal for equal rows, from whatever file"
    facts = [
        TableRow("gatewise", [summary.gatewise], "the version that trained"),
        TableRow("seed", [setting(summary.config.get("seed"))], "where the random numbers start"),
        TableRow("data", [short(data.name, 200)], f"{count(data.rows, 'row')}: {_split(summary)}"),
        TableRow("data hash", [data.hash], f"SHA-256, {of}"),
    ]
    config = [TableRow(short(key, 80), [short(setting(value), 500)]) for key, value in summary.config.items()]
    half = -(-len(config) // 2)
    halves = {"Configuration": config[:half], "Configuration, continued": config[half:]}
    return Section(
        "How to repeat it",
        [
            Command(summary.command),
            Stack([Table("Origin", ["", "value"], facts, numeric=False), *_versions(environment)]),
            *(Table(title, ["key", "value"], rows, numeric=False) for title, rows in halves.items() if rows),
        ],
    )


def _versions(environment: Mapping[str, Any]) -> list[Table]:
    """What the run ran on, as far as it is known."""
    packages = environment.get("packages")
    known = {key: environment.get(key) for key in ("python", "platform", "cuda", "processors", "threads")}
    known |= packages if isinstance(packages, dict) else {}
    rows = [
        TableRow(short(printable(name), 80), [short(setting(value), 200)])
        for name, value in known.items()
        if value is not None and name != "gatewise"
    ]
    return [Table("Versions", ["", "value"], rows, numeric=False)] if rows else []


def _split(summary: Summary) -> str:
    data = summary.data
    return f"{data.train_rows:,} to train, {data.validation_rows:,} to validate, {data.test_rows:,} to test"


def _parts(summary: Summary) -> list[tuple[str, Metrics]]:
    test = [] if summary.test is None else [("test", summary.test)]
    return [*test, ("validation", summary.validation)]


def _answer(name: str, mixture: float | None, top1: float | None, shown: Callable[[float | None], str]) -> TableRow:
    return TableRow(name, [shown(mixture), shown(top1)])


def _measures(summary: Summary) -> tuple[list[TableRow], list[TableRow]]:
    """The other measures, of the gate and of calibration, each with a phrase for a newcomer."""
    experts, parts = summary.model.experts, [metrics for _, metrics in _parts(summary)]
    most = number(math.log(experts), 2)

    def row(name: str, key: str, note: str, digits: int = 3) -> TableRow:
        return TableRow(name, [number(getattr(metrics, key), digits) for metrics in parts], note)

    gate = [
        row("Jensen bound", "jensen", "the experts' log-likelihoods, averaged by the gate: at most the mixture's own"),
        row(
            "bound gap", "bound_gap", "how far the Jensen bound lies below the mixture's log-likelihood; 0: not at all"
        ),
        row("gate entropy", "gate_entropy", f"how undecided the gate is on a row: 0, one expert; {most}, all alike"),
        row(
            "mutual information",
            "mutual_information",
            f"how much the choice depends on the row: 0, never; {most}, most",
        ),
        row("effective experts", "effective_experts", f"over how many of {experts} the mean gate spreads", 2),
        row("experts used", "experts_used", "first choice on at least a tenth of an even share of the rows", 0),
        row("dead experts", "dead_experts", "all others", 0),
    ]
    return gate, [
        row("ECE", "ece", "expected calibration error: how far confidence is from accuracy; 0 is best"),
        row("Brier score", "brier", "mean squared error of the probabilities; 0 is best"),
        row("AUC", "auc", "how often a row of a class is ranked above a row of another; 0.5 is chance, 1 is best"),
        row("average precision", "average_precision", "area under the precision-recall curve; 1 is best"),
        row("rows", "rows", "that the measures were taken on", 0),
    ]


def course(summary: Summary) -> str:
    """Sentences on the start, the warm start and the experts that were re-seeded; empty where there is nothing."""
    told = [_started(summary), _starts(summary.starts), _warm(summary), _reseeded(summary.reseeded)]
    return " ".join(sentence for sentence in told if sentence)


def _started(summary: Summary) -> str:
    start = summary.config.get("start_from")
    return f"Training started from the weights of the run {short(setting(start), 200)}." if start else ""


def _starts(found: Sequence[float]) -> str:
    if len(found) < 2:
        return ""
    nlls = ", ".join(f"{nll:.3f}" for nll in found)
    return f"The best of {len(found)} starts went on: after a fifth of the epochs their validation NLLs were {nlls}."


def _warm(summary: Summary) -> str:
    if summary.config.get("warm_start") != "kmeans":
        return ""
    epochs, limit = summary.config.get("warm_start_epochs"), summary.config.get("epochs")
    if epochs is None and isinstance(limit, int):
        epochs = max(1, limit // 10)
    lasted = "the first tenth of the epochs"
    if isinstance(epochs, int):
        lasted = "the first epoch" if epochs == 1 else f"the first {epochs} epochs"
    return (
        f"Warm start: for {lasted} each row's expert was given, by clusters of the inputs (k-means), and not chosen by "
        "the gate."
    )


def _reseeded(reseeded: Sequence[ReseedingSchema]) -> str:
    if not reseeded:
        return ""
    shown = "; ".join(
        f"expert {each.expert} after epoch {each.epoch}, as a copy of expert {each.donor}" for each in reseeded[:MOST]
    )
    more = f"; and {len(reseeded) - MOST} more" if len(reseeded) > MOST else ""
    times = "A dead expert was" if len(reseeded) == 1 else f"{len(reseeded)} times a dead expert was"
    return f"{times} re-seeded with a little noise: {shown}{more}."


def trust(summary: Summary) -> list[Block]:
    """The reliability after calibration where it changes anything, and the tables; nothing for older runs."""
    found, kept = summary.calibration, summary.details.selective if summary.details else []
    tables = [*([] if found is None else [_calibration(found)]), *([_coverage(kept)] if kept else [])]
    after = None if found is None or found.mixture.temperature == 1.0 else found.mixture.reliability
    drawn = [] if after is None else [reliability_diagram(after, "calibrated")]
    return [*drawn, *([Stack(tables)] if tables else [])]


def _calibration(found: CalibrationSchema) -> Table:
    rows = [*_route("mixture", found.mixture), *_route("top-1", found.top1)]
    fitted = f"Temperature fitted on {count(found.fitted_on, 'validation row')}; for predict and evaluate --calibrated"
    return Table(fitted, ["", "before", "after"], rows)


def _route(name: str, found: TemperatureSchema) -> list[TableRow]:
    before, after = found.before, found.after
    note = f"temperature {number(found.temperature)}"
    if found.temperature == 1.0:
        note += ": the validation rows gain nothing by another"
    return [
        TableRow(f"ECE, {name}", [number(before.ece), number(after.ece)], note),
        TableRow(f"Brier score, {name}", [number(before.brier), number(after.brier)]),
        TableRow(f"NLL, {name}", [number(before.nll), number(after.nll)]),
    ]


def _coverage(kept: list[CoverageSchema]) -> Table:
    rows = [
        TableRow(percent(each.kept), [percent(each.accuracy), number(each.abstain_above, 4)], _asked(each))
        for each in kept
    ]
    return Table("If it abstains where it is least sure", ["rows kept", "accuracy", "threshold, nats"], rows)


def _asked(kept: CoverageSchema) -> str:
    return "" if kept.coverage is None or kept.kept is None else f"at least {percent(kept.coverage)}"
