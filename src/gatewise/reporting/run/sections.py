"""The sections after the verdict, each from the summary and what belongs to it. `page.page` has their order."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from gatewise.reporting.html.blocks import Command, Paragraph, Row, Section, Stack, Table
from gatewise.reporting.plots.bars import bound_gaps, expert_use, reliability_diagram
from gatewise.reporting.plots.heat_maps import confusion_matrix, experts_by_class, experts_by_label
from gatewise.reporting.plots.learning_curves import History, learning_pictures
from gatewise.reporting.run.course import course
from gatewise.reporting.run.labels import results_of_labels
from gatewise.reporting.run.task_results import results_of_numbers
from gatewise.reporting.run.trust import trust
from gatewise.reporting.schemas.run import Metrics, Summary
from gatewise.wording import count, number, percent, printable, setting, short

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
        Row(
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
        Row("gatewise", [summary.gatewise], "the version that trained"),
        Row("seed", [setting(summary.config.get("seed"))], "where the random numbers start"),
        Row("data", [short(data.name, 200)], f"{count(data.rows, 'row')}: {_split(summary)}"),
        Row("data hash", [data.hash], f"SHA-256, {of}"),
    ]
    config = [Row(short(key, 80), [short(setting(value), 500)]) for key, value in summary.config.items()]
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
        Row(short(printable(name), 80), [short(setting(value), 200)])
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


def _answer(name: str, mixture: float | None, top1: float | None, shown: Callable[[float | None], str]) -> Row:
    return Row(name, [shown(mixture), shown(top1)])


def _measures(summary: Summary) -> tuple[list[Row], list[Row]]:
    """The other measures, of the gate and of calibration, each with a phrase for a newcomer."""
    experts, parts = summary.model.experts, [metrics for _, metrics in _parts(summary)]
    most = number(math.log(experts), 2)

    def row(name: str, key: str, note: str, digits: int = 3) -> Row:
        return Row(name, [number(getattr(metrics, key), digits) for metrics in parts], note)

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
