"""The sections on runs side by side: figures, settings, curves, warnings, and how to repeat them."""

from collections.abc import Callable

from gatewise.reporting.html.blocks import Link, Noted, Paragraph, Picture, Section, Table, TableRow
from gatewise.reporting.plots.overlays import Course, course_picture, line
from gatewise.reporting.side_by_side.table import Compared, Trained
from gatewise.wording import count, number, percent, short

NAME = 40  # letters of a run's name in the head of a table
VALUE = 200
FIGURES = (
    ("accuracy", "accuracy", True, 4),
    ("accuracy, top-1", "accuracy_top1", True, 4),
    ("NLL, nats", "nll", False, 4),
    ("NLL, top-1", "nll_top1", False, 4),
    ("AUC", "auc", False, 4),
    ("average precision", "average_precision", False, 4),
    ("ECE", "ece", False, 4),
    ("Brier score", "brier", False, 4),
    ("experts used", "experts_used", False, 0),
    ("dead experts", "dead_experts", False, 0),
    ("effective experts", "effective_experts", False, 2),
    ("gate entropy, nats", "gate_entropy", False, 3),
    ("mutual information, nats", "mutual_information", False, 3),
    ("bound gap, nats", "bound_gap", False, 4),
)
"""What a figure is called, its key, whether it is a share, and the digits that count."""
OF_NUMBERS = (
    ("RMSE", "rmse", False, 4),
    ("MAE", "mae", False, 4),
    ("R²", "r2", False, 4),
    ("CRPS", "crps", False, 4),
    ("in the 90 % interval", "coverage_90", True, 4),
)
"""As `FIGURES`, where a run predicts numbers."""
OF_LABELS = (
    ("all labels right", "exact_match", True, 4),
    ("F1, micro", "f1_micro", False, 4),
    ("F1, macro", "f1_macro", False, 4),
)
"""As `FIGURES`, where a run predicts several labels."""
COURSES = (
    Course(
        "nll",
        "Validation NLL by epoch",
        "epoch",
        "validation_nll",
        "nats an example",
        "A line ends where training stopped.",
        log=True,
    ),
    Course(
        "nll-by-second",
        "Validation NLL by time",
        "seconds",
        "validation_nll",
        "nats an example",
        "Against the seconds of training, on whatever machine and beside whatever else it did.",
        log=True,
    ),
    Course(
        "accuracy",
        "Validation accuracy by epoch",
        "epoch",
        "validation_accuracy",
        "share of validation rows",
        "Of the whole mixture.",
    ),
    Course(
        "entropy",
        "Gate entropy by epoch",
        "epoch",
        "validation_gate_entropy",
        "nats",
        "How undecided the gate is on a validation row: 0 is one expert.",
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
    Course(
        "temperature",
        "Temperature λ by epoch",
        "epoch",
        "temperature",
        "λ",
        "How soft the estimator's relaxed choice is. A run without λ has no line.",
    ),
)


def results(compared: Compared) -> Section:
    """The figures side by side, each with its difference from the first run."""
    against = f"; in small its difference from {short(compared.first.name, NAME)}" if compared.comparable else ""
    note = (
        f"On the {compared.judged} rows of each run{against}. Top-1: only the expert the gate likes best answers. Of "
        "NLL, ECE, Brier score, RMSE, MAE and CRPS lower is better; of accuracy, AUC, average precision, F1 and R² "
        "higher."
    )
    known = [compared.metrics(run) for run in compared.runs]
    figures = [f for f in FIGURES + OF_NUMBERS + OF_LABELS if any(getattr(run, f[1]) is not None for run in known)]
    rows = [_figure(compared, *figure) for figure in figures]
    rows.append(TableRow("rows", [f"{compared.metrics(run).rows:,}" for run in compared.runs], "that judge it"))
    return Section("Figures", [Paragraph(note), Table("Side by side", _header(compared), rows, wide=True)])


def settings(compared: Compared) -> Section:
    """The settings that differ."""
    if not compared.differing:
        return Section("Settings that differ", [Paragraph("None: the configurations are the same.")])
    rows = [
        TableRow(short(key, NAME), [short(value, VALUE) for value in values])
        for key, values in compared.differing.items()
    ]
    return Section(
        "Settings that differ", [Table("All others are the same", _header(compared), rows, numeric=False, wide=True)]
    )


def learning(compared: Compared) -> Section:
    """The courses of all runs, a picture for each figure."""
    drawn = [picture for course in COURSES if (picture := _picture(compared, course)) is not None]
    return Section("Learning curves", drawn or [Paragraph("No epoch was recorded, so there is nothing to draw.")])


def warnings(compared: Compared) -> Section:
    """What each run was warned of."""
    warned = [(run, warning) for run in compared.runs for warning in run.summary.warnings]
    if not warned:
        return Section("Warnings of the runs", [Paragraph("No warnings.")])
    rows = [TableRow(short(run.name, NAME), [warning[:1].upper() + warning[1:]]) for run, warning in warned]
    return Section("Warnings of the runs", [Table("As they were said", ["run", "warning"], rows, False, wide=True)])


def repeat(compared: Compared) -> Section:
    """Each run: its report, its data, its version, its command."""
    header = ["run", "report", "data", "data hash", "epochs, best", "seconds", "gatewise", "command"]
    rows = [_origin(run) for run in compared.runs]
    return Section("How to repeat them", [Table("Every run", header, rows, numeric=False, wide=True)])


def _header(compared: Compared) -> list[str]:
    return ["", *(short(run.name, NAME) for run in compared.runs)]


def _figure(compared: Compared, name: str, key: str, share: bool, digits: int) -> TableRow:
    first, *others = (getattr(compared.metrics(run), key) for run in compared.runs)
    shown: Callable[[float | None], str] = percent if share else lambda value: number(value, digits)
    cells: list[str | Noted] = [shown(first)]
    for value in others:
        known = compared.comparable and value is not None and first is not None
        cells.append(Noted(shown(value), _signed(value - first, share, digits)) if known else shown(value))
    return TableRow(name, cells)


def _signed(difference: float, share: bool, digits: int) -> str:
    told = percent(difference).replace("-", "−") if share else number(difference, digits)
    return told if told.startswith("−") else f"+{told}"


def _picture(compared: Compared, course: Course) -> Picture | None:
    lines = [line(place, run.history, course) for place, run in enumerate(compared.runs)]
    names = {place: run.name for place, run in enumerate(compared.runs)}
    return course_picture(course, [each for each in lines if each is not None], names, "run")


def _origin(run: Trained) -> TableRow:
    summary, data = run.summary, run.summary.data
    facts = [
        Noted(short(data.name, VALUE), count(data.rows, "row")),
        short(data.hash, 20),
        f"{summary.epochs}, {summary.best_epoch}",
        number(summary.seconds, 1),
        summary.gatewise,
        short(summary.command, 500),
    ]
    return TableRow(short(run.name, NAME), [Link("report", run.href), *facts])
