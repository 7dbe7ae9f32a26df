"""The summary of a training, in `summary.json`, with its held-out evaluation."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import polars as pl
import torch

from gatewise import __version__
from gatewise.config.run import RunConfig
from gatewise.data import Records, StoredRows
from gatewise.data.leakage import ROWS, telling_columns
from gatewise.data.readings import said_of_readings
from gatewise.data.streaming.records import some_of
from gatewise.data.unlabelled import said_of_unlabelled
from gatewise.metrics import evaluate_batches
from gatewise.metrics.calibration import calibration_figures
from gatewise.metrics.constant import ConstantFigures, constant_answer
from gatewise.models.model import Model
from gatewise.models.task import KINDS, NumberTask, tally_of
from gatewise.objectives import Objective
from gatewise.runs.data import Parts
from gatewise.runs.expert_profiles import MOST_ROWS, typical
from gatewise.runs.prepare import Prepared
from gatewise.runs.seen_rows import MOST, SeenRows
from gatewise.training.input.batching import Rows
from gatewise.training.input.datasets import RowStream, batches_of, held_rows
from gatewise.training.loop import Fit


def summarise(
    config: RunConfig, parts: Parts, prepared: Prepared, weights: torch.Tensor | None, result: Fit
) -> dict[str, Any]:
    """What `summary.json` holds; `weights` are those of the classes in training, or None."""
    model, objective, mixture = prepared.model, prepared.objective, prepared.model.mixture
    part, unseen = ("validation", parts.validation) if parts.test is None else ("test", parts.test)
    x, y = held_rows(prepared.rows["train"])
    answer = constant_answer(model.spec.head, len(model.spec.classes), y)
    figures, details = judge(model, prepared.rows, part, answer)
    shown = some_of(unseen, MOST_ROWS)
    return {
        "gatewise": __version__,
        "config": config.model_dump(),
        "data": {
            "name": parts.whole.name,
            "target": parts.whole.target,
            "rows": len(parts.whole),
            "train_rows": len(parts.train),
            "validation_rows": len(parts.validation),
            "test_rows": len(parts.test) if parts.test is not None else 0,
            "columns": len(parts.whole.columns or []) or model.spec.features,
            "used": model.preprocessing.used(parts.whole),
            "readings": _said_of_columns(config, parts),
            "unlabelled": sum(parts.whole.unlabelled.values()),
            "left_out": said_of_unlabelled(parts.whole.unlabelled, parts.whole.targets, parts.whole.missing),
            "images": parts.whole.images,
            "classes": model.spec.classes,
            "labels": [label.model_dump() for label in model.spec.labels],
            "guessed": parts.guessed,
            "rare": parts.rare,
            "hash": parts.whole.hash(),
            "test_hash": parts.test.hash() if parts.test is not None else None,
            "constant": answer,
            "telling": _telling(model, some_of(parts.train, ROWS)),
            "test_rows_seen": _seen(x, prepared.rows.get("test")),
            "streamed": isinstance(parts.whole, StoredRows),
        },
        "model": {
            "head": model.spec.head,
            "experts": mixture.num_experts,
            "parameters": sum(p.numel() for p in mixture.parameters()),
            "evaluations": _most_evaluations(config, objective),
            "objective": config.objective,
            "estimator": next((estimator.name for estimator in objective.estimators()), None),
        },
        "class_weights": None if weights is None else dict(zip(model.spec.classes, weights.tolist(), strict=True)),
        "best_epoch": result.best_epoch,
        "epochs": len(result.history),
        "validation": figures["validation"],
        "test": figures.get("test"),
        **details,
        "typical": typical(model, shown, *_rows(prepared, part, shown)) if can_be_told(model, shown) else None,
        "starts": result.restarts,
        "warnings": result.warnings,
        "reseeded": result.reseeded,
        "interrupted": result.stopped == "interrupted",
    }


def _telling(model: Model, train: Records) -> list[str]:
    """The columns that the model uses and that give the answer away."""
    if not isinstance(train.features, pl.DataFrame):
        return []
    used = [name for name in model.preprocessing.column_names or () if name in train.features.columns]
    numbers = isinstance(KINDS.get(model.spec.head), NumberTask)
    return telling_columns(train.features.select(used), train.known_label_sets(), numbers)


def _seen(train: torch.Tensor, test: Rows | RowStream | None) -> int | None:
    """How many test rows equal rows that were trained on; None where nobody looked."""
    if test is None or isinstance(test, RowStream) or len(train) > MOST:
        return None
    seen = SeenRows.of(train)
    seen.update(test[0])
    return seen.seen


def _said_of_columns(config: RunConfig, parts: Parts) -> list[str]:
    """Sentences on columns of text that are of numbers, or nearly, used or not, the target among them."""
    whole = parts.whole
    targets = {name: each.reading for name, each in whole.targets.items() if each.reading and parts.head in KINDS}
    readings = {name: reading for name, reading in whole.readings.items() if name not in config.drop}
    return said_of_readings(readings | targets, whole.missing, config.as_numbers)


def _rows(prepared: Prepared, part: str, shown: Records) -> Rows:
    """The rows of a part that are shown, as the model takes them."""
    rows = prepared.rows[part]
    return prepared.model.rows(shown) if isinstance(rows, RowStream) else rows


def _most_evaluations(config: RunConfig, objective: Objective) -> int:
    """At most so many experts run for a training row: the k of a top-k gate where no others are asked."""
    most = objective.evaluations(config.num_experts)
    calls = {call for estimator in objective.estimators() for call in estimator.calls}
    return min(most, config.gate_top_k) if config.gate_top_k and calls == {"index"} else most


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
