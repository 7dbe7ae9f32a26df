"""What a summary says of rows that were not trained on."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gatewise.data import Records
from gatewise.metrics import evaluate_batches
from gatewise.metrics.calibration import calibration_figures
from gatewise.metrics.constant import ConstantFigures
from gatewise.models.model import Model
from gatewise.models.task import KINDS, tally_of
from gatewise.training.epoch import Rows
from gatewise.training.row_stream import RowStream, batches_of, held_rows


def judge(
    model: Model, rows: Mapping[str, Rows | RowStream], part: str, answer: dict[str, Any]
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The figures of each part, and the key `details` of one of them, for classes `calibration` too.

    Args:
        model: in inference mode, with its calibration where it has classes.
        rows: by part; "train" is left out.
        part: which the report draws.
        answer: that does not look at the row, from `constant_answer`: the figures have its own beside.
    """
    judged = rows.keys() - {"train"}
    constant = {name: ConstantFigures(answer) for name in judged}
    for name, yardstick in constant.items():
        for _, y, *_ in batches_of(rows[name]):
            yardstick.update(y)
    if model.spec.head in KINDS:
        counted = {name: tally_of(model.spec, model.mixture, batches_of(rows[name])) for name in judged}
        figures = {name: tally.result() | constant[name].result() for name, tally in counted.items()}
        return figures, {"details": counted[part].details()}
    count = len(model.spec.classes)
    tallies = {name: evaluate_batches(model.mixture, batches_of(rows[name]), count) for name in judged}
    calibration = calibration_figures(model.mixture, model.known_calibration(), *held_rows(rows[part]))
    names = model.spec.classes
    figures = {
        name: {**tally.result().to_dict(), **constant[name].result(), "classes": tally.by_class(names)}
        for name, tally in tallies.items()
    }
    return figures, {"calibration": calibration, "details": asdict(tallies[part].details())}


def can_be_told(model: Model, records: Records) -> bool:
    """Whether what is typical of experts can be told: of pictures only with their classes."""
    return model.spec.head not in KINDS or records.is_table
