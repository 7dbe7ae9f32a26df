"""What the report reads of a run: summary.json and the epochs of metrics.jsonl, checked before anything is drawn."""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError
from pydantic import model_validator as validator

from gatewise.errors import GatewiseError
from gatewise.reporting.wording import printable


def finite(value: object) -> float | None:
    """The number, or None for everything that is no finite number."""
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def as_array(values: Sequence) -> np.ndarray:
    """The numbers as float64, however nested, with NaN for None."""
    return np.array(values, dtype=float)


Number = Annotated[float | None, BeforeValidator(finite)]
Text = Annotated[str, BeforeValidator(lambda value: printable(value) if isinstance(value, str) else value)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)  # keys not named here pass: later versions add some


class Data(_Part):
    """The rows that the run saw."""

    name: Text
    rows: NonNegativeInt
    train_rows: NonNegativeInt
    validation_rows: NonNegativeInt
    test_rows: NonNegativeInt
    columns: NonNegativeInt
    classes: list[Text] = Field(min_length=1)
    hash: Text


class Model(_Part):
    """What was trained, and by what."""

    experts: PositiveInt
    parameters: NonNegativeInt
    evaluations: NonNegativeInt
    objective: Text
    estimator: Text | None = None


class Metrics(_Part):
    """The measures of one part of the data; None where one could not be computed."""

    rows: NonNegativeInt
    accuracy: Number = None
    nll: Number = None
    accuracy_top1: Number = None
    nll_top1: Number = None
    jensen: Number = None
    bound_gap: Number = None
    gate_entropy: Number = None
    mutual_information: Number = None
    effective_experts: Number = None
    experts_used: Number = None
    dead_experts: Number = None
    ece: Number = None
    brier: Number = None


class Reliability(_Part):
    """Mean confidence, accuracy and count of each bin of confidence."""

    confidence: list[Number]
    accuracy: list[Number]
    count: list[NonNegativeInt]


class Details(_Part):
    """Who answered what, on rows that were not trained on: K experts, C classes."""

    expert_share: list[Number]
    mean_gate: list[Number]
    gate_by_class: list[list[Number]]
    reliability: Reliability
    confusion: list[list[NonNegativeInt]]

    def check(self, num_experts: int, num_classes: int) -> None:
        """Raise ValueError where the lengths do not fit K and C."""
        bins = len(self.reliability.count)
        for name, rows, length in (
            ("expert_share", [self.expert_share], num_experts),
            ("mean_gate", [self.mean_gate], num_experts),
            ("gate_by_class", self.gate_by_class, num_experts),
            ("confusion", self.confusion, num_classes),
            ("reliability", [self.reliability.confidence, self.reliability.accuracy], bins),
        ):
            if any(len(row) != length for row in rows):
                raise ValueError(f"details.{name} must have rows of {length} numbers")
        for name, rows in (("gate_by_class", self.gate_by_class), ("confusion", self.confusion)):
            if len(rows) != num_classes:
                raise ValueError(f"details.{name} must have {num_classes} rows, one for each class")


class Summary(_Part):
    """summary.json."""

    gatewise: Text
    command: Text
    config: dict[Text, Any]
    data: Data
    model: Model
    best_epoch: int
    epochs: NonNegativeInt
    seconds: Number = None
    validation: Metrics
    test: Metrics | None = None
    details: Details | None = None
    warnings: list[Text] = []
    interrupted: bool = False

    @validator(mode="after")
    def _fits(self) -> "Summary":
        if self.details is not None:
            self.details.check(self.model.experts, len(self.data.classes))
        return self

    @property
    def judged(self) -> tuple[str, Metrics]:
        """The part of the data that the verdict is about: test where there is one, else validation."""
        return ("validation", self.validation) if self.test is None else ("test", self.test)


def parse_summary(value: object, where: str) -> Summary:
    """The summary, checked.

    Raises:
        GatewiseError: naming the first entry that does not fit.
    """
    try:
        return Summary.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        entry = ".".join(map(str, first["loc"])) or "the whole"
        told = " ".join(f"{where}: {entry}: {first['msg']}".split())
        raise GatewiseError(f"{told}; restore the file, or train the run again") from None


def parse_history(value: Sequence[object], where: str) -> list[dict[str, Any]]:
    """The epochs, checked to be objects that have a number.

    Raises:
        GatewiseError: naming the first line that does not fit.
    """
    epochs = []
    for line, epoch in enumerate(value, 1):
        if not isinstance(epoch, dict) or finite(epoch.get("epoch")) is None:
            raise GatewiseError(
                f"{where}: line {line} is no object with an epoch number; restore the file, or train the run again"
            )
        epochs.append(epoch)
    return epochs
