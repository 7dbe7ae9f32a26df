"""What the report reads of a run: summary.json and the epochs of metrics.jsonl, checked before anything is drawn."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, FiniteFloat, NonNegativeInt, PositiveInt, ValidationError
from pydantic import model_validator as validator

from gatewise.errors import GatewiseError
from gatewise.reporting.schemas.details import Calibration, Details, Typical
from gatewise.reporting.schemas.fields import Number, Part, Text, finite


class Label(Part):
    """One of several labels, and the values that count as 0 and as 1."""

    name: Text
    values: list[Text]


class Constant(Part):
    """The best answer that does not look at the row: shares of the classes or labels, or numbers."""

    shares: list[Annotated[float, Field(ge=0, le=1)]] | None = None
    mean: FiniteFloat | None = None
    median: FiniteFloat | None = None


class Data(Part):
    """The rows that the run saw."""

    name: Text
    rows: NonNegativeInt
    train_rows: NonNegativeInt
    validation_rows: NonNegativeInt
    test_rows: NonNegativeInt
    columns: NonNegativeInt
    classes: list[Text] = Field([])
    labels: list[Label] = Field([])
    hash: Text
    test_hash: Text | None = None
    streamed: bool = False
    readings: list[Text] = Field([])
    left_out: Text | None = None
    telling: list[Text] = Field([])
    test_rows_seen: NonNegativeInt | None = None
    constant: Constant | None = None
    target: Text | None = None
    images: bool = False
    used: Text | None = None
    readings: list[Text] = Field([])
    left_out: Text | None = None
    rare: Text | None = None
    guessed: Text | None = None


class Model(Part):
    """What was trained, and by what."""

    head: Text = "categorical"
    experts: PositiveInt
    parameters: NonNegativeInt
    evaluations: NonNegativeInt
    objective: Text
    estimator: Text | None = None


class LabelMetrics(Part):
    """The measures of one label: the share of the rows that have it, and how well it is told."""

    name: Text
    share: Number = None
    accuracy: Number = None
    f1: Number = None
    brier: Number = None
    auc: Number = None
    average_precision: Number = None


class ClassMetrics(Part):
    """The measures of one class: how many rows have it, and how well it is told."""

    name: Text
    rows: NonNegativeInt
    recall: Number = None
    precision: Number = None
    f1: Number = None
    auc: Number = None
    average_precision: Number = None


class Metrics(Part):
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
    auc: Number = None
    average_precision: Number = None
    constant_nll: Number = None
    constant_accuracy: Number = None
    constant_rmse: Number = None
    constant_mae: Number = None
    rmse: Number = None
    mae: Number = None
    r2: Number = None
    crps: Number = None
    poisson_deviance: Number = None
    coverage_50: Number = None
    width_50: Number = None
    coverage_90: Number = None
    width_90: Number = None
    exact_match: Number = None
    hamming_loss: Number = None
    f1_micro: Number = None
    f1_macro: Number = None
    labels: list[LabelMetrics] = Field([])
    classes: list[ClassMetrics] = Field([])


class Reseeded(Part):
    """A dead expert that started again in training."""

    epoch: int
    expert: NonNegativeInt
    donor: NonNegativeInt


class Summary(Part):
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
    calibration: Calibration | None = None
    details: Details | None = None
    typical: Typical | None = None
    warnings: list[Text] = Field([])
    class_weights: dict[Text, float] | None = None
    starts: list[float] = Field([])
    reseeded: list[Reseeded] = Field([])
    interrupted: bool = False

    @validator(mode="after")
    def _fits(self) -> "Summary":
        if (self.model.head == "categorical") != bool(self.data.classes):
            raise ValueError(f"data.classes must name classes for the head categorical alone, not {self.model.head}")
        constant, named = self.data.constant, len(self.data.classes) + len(self.data.labels)
        if constant is not None and len(constant.shares or []) != named:
            raise ValueError(f"data.constant must have shares of {named} classes or labels")
        if self.details is not None:
            self.details.check(self.model.experts, len(self.data.classes), len(self.data.labels))
        if self.typical is not None:
            self.typical.check(self.model.experts)
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
        said = f"it has no {entry}" if first["type"] == "missing" else f"{entry}: {first['msg']}"
        told = " ".join(f"{where}: {said}".split())
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
