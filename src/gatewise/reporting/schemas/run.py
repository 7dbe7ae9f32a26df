"""The schema of summary.json and of the epochs in metrics.jsonl, checked before anything is drawn."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, FiniteFloat, NonNegativeInt, PositiveInt, ValidationError, model_validator
from pydantic import model_validator as validator

from gatewise.errors import GatewiseError
from gatewise.reporting.schemas.fields import Number, Schema, Text, finite

Png = Annotated[str, Field(pattern=r"^iVBORw0KGgo[A-Za-z0-9+/]*={0,2}$")]
"""A PNG in base64, which begins so and holds nothing that ends an attribute of the page."""


class Reliability(Schema):
    """Mean confidence, accuracy and count of each bin of confidence."""

    confidence: list[Number]
    accuracy: list[Number]
    count: list[NonNegativeInt]

    @model_validator(mode="after")
    def _of_the_same_bins(self) -> "Reliability":
        if not len(self.confidence) == len(self.accuracy) == len(self.count):
            raise ValueError("reliability must have as many confidences and accuracies as counts")
        return self


class GapBins(Schema):
    """The bound gap of single rows: edges between the bins, and the count and the sum of each."""

    edges: list[float] = Field(min_length=1)
    count: list[NonNegativeInt]
    total: list[Number]

    def check(self) -> None:
        """Raise ValueError where the lengths do not fit."""
        if not len(self.edges) + 1 == len(self.count) == len(self.total):
            raise ValueError("details.bound_gap must have one bin more than edges")


class CoverageSchema(Schema):
    """The rows kept when those above an entropy are left out."""

    coverage: Number = None
    kept: Number = None
    abstain_above: Number = None
    accuracy: Number = None


class CalibrationMetricsSchema(Schema):
    """How honest probabilities are."""

    nll: Number = None
    ece: Number = None
    brier: Number = None


class TemperatureSchema(Schema):
    """What a temperature does to a route's probabilities."""

    temperature: Number = None
    before: CalibrationMetricsSchema
    after: CalibrationMetricsSchema
    reliability: Reliability | None = None


class CalibrationSchema(Schema):
    """The temperatures fitted on validation rows, judged on rows that were not trained on."""

    fitted_on: NonNegativeInt
    mixture: TemperatureSchema
    top1: TemperatureSchema


class DetailsSchema(Schema):
    """Who answered what, on rows that were not trained on: K experts, C classes.

    Of several labels `gate_by_class` has those rows that have each; reliability and confusion are of classes alone.
    """

    expert_share: list[Number]
    mean_gate: list[Number]
    gate_by_class: list[list[Number]] = Field([])
    reliability: Reliability | None = None
    confusion: list[list[NonNegativeInt]] = Field([])
    bound_gap: GapBins | None = None
    selective: list[CoverageSchema] = Field([])

    def check(self, num_experts: int, num_classes: int, num_labels: int = 0) -> None:
        """Raise ValueError where the lengths do not fit K and C, or the number of labels."""
        if bool(num_classes) != (self.reliability is not None):
            raise ValueError("details.reliability must be there for classes, and for them alone")
        for name, rows, length in (
            ("expert_share", [self.expert_share], num_experts),
            ("mean_gate", [self.mean_gate], num_experts),
            ("gate_by_class", self.gate_by_class, num_experts),
            ("confusion", self.confusion, num_classes),
        ):
            if any(len(row) != length for row in rows):
                raise ValueError(f"details.{name} must have rows of {length} numbers")
        for name, rows, count, each in (
            ("gate_by_class", self.gate_by_class, num_classes + num_labels, "label" if num_labels else "class"),
            ("confusion", self.confusion, num_classes, "class"),
        ):
            if len(rows) != count:
                raise ValueError(f"details.{name} must have {count} rows, one for each {each}")
        if self.bound_gap is not None:
            self.bound_gap.check()


class Image(Schema):
    """A row as a picture."""

    png: Png
    label: Text
    predicted: Text
    probability: Number = None


class Value(Schema):
    """A number's mean, or a category's share, among an expert's rows and among all."""

    column: Text
    value: Text | None = None
    mean: Number = None
    overall: Number = None
    deviations: Number = None


class ExpertProfile(Schema):
    """What is typical of one expert: images, or values."""

    expert: NonNegativeInt
    share: Number = None
    images: list[Image] = Field([])
    values: list[Value] = Field([])


class ExpertProfiles(Schema):
    """What is typical of each expert."""

    rows: NonNegativeInt
    experts: list[ExpertProfile]

    def check(self, num_experts: int) -> None:
        """Raise ValueError where one is not of K experts."""
        if any(each.expert >= num_experts for each in self.experts):
            raise ValueError(f"typical.experts must have numbers below {num_experts}")


class LabelSchema(Schema):
    """One of several labels, and the values that count as 0 and as 1."""

    name: Text
    values: list[Text]


class ConstantSchema(Schema):
    """The best answer that does not look at the row: shares of the classes or labels, or numbers."""

    shares: list[Annotated[float, Field(ge=0, le=1)]] | None = None
    mean: FiniteFloat | None = None
    median: FiniteFloat | None = None


class Data(Schema):
    """The rows that the run saw."""

    name: Text
    rows: NonNegativeInt
    train_rows: NonNegativeInt
    validation_rows: NonNegativeInt
    test_rows: NonNegativeInt
    columns: NonNegativeInt
    classes: list[Text] = Field([])
    labels: list[LabelSchema] = Field([])
    hash: Text
    test_hash: Text | None = None
    streamed: bool = False
    readings: list[Text] = Field([])
    left_out: Text | None = None
    telling: list[Text] = Field([])
    test_rows_seen: NonNegativeInt | None = None
    constant: ConstantSchema | None = None
    target: Text | None = None
    images: bool = False
    used: Text | None = None
    readings: list[Text] = Field([])
    left_out: Text | None = None
    rare: Text | None = None
    guessed: Text | None = None


class ModelSchema(Schema):
    """What was trained, and by what."""

    head: Text = "categorical"
    experts: PositiveInt
    parameters: NonNegativeInt
    evaluations: NonNegativeInt
    objective: Text
    estimator: Text | None = None


class LabelMetrics(Schema):
    """The measures of one label: the share of the rows that have it, and how well it is told."""

    name: Text
    share: Number = None
    accuracy: Number = None
    f1: Number = None
    brier: Number = None
    auc: Number = None
    average_precision: Number = None


class ClassMetrics(Schema):
    """The measures of one class: how many rows have it, and how well it is told."""

    name: Text
    rows: NonNegativeInt
    recall: Number = None
    precision: Number = None
    f1: Number = None
    auc: Number = None
    average_precision: Number = None


class Metrics(Schema):
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


class ReseedingSchema(Schema):
    """A dead expert that started again in training."""

    epoch: int
    expert: NonNegativeInt
    donor: NonNegativeInt


class Summary(Schema):
    """summary.json."""

    gatewise: Text
    command: Text
    config: dict[Text, Any]
    data: Data
    model: ModelSchema
    best_epoch: int
    epochs: NonNegativeInt
    seconds: Number = None
    validation: Metrics
    test: Metrics | None = None
    calibration: CalibrationSchema | None = None
    details: DetailsSchema | None = None
    typical: ExpertProfiles | None = None
    warnings: list[Text] = Field([])
    class_weights: dict[Text, float] | None = None
    starts: list[float] = Field([])
    reseeded: list[ReseedingSchema] = Field([])
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
