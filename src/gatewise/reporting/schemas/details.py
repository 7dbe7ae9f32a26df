"""What the report reads of single experts, classes and rows, which were not trained on."""

from typing import Annotated

from pydantic import Field, NonNegativeInt, model_validator

from gatewise.reporting.schemas.fields import Number, Part, Text

Png = Annotated[str, Field(pattern=r"^iVBORw0KGgo[A-Za-z0-9+/]*={0,2}$")]
"""A PNG in base64, which begins so and holds nothing that ends an attribute of the page."""


class Reliability(Part):
    """Mean confidence, accuracy and count of each bin of confidence."""

    confidence: list[Number]
    accuracy: list[Number]
    count: list[NonNegativeInt]

    @model_validator(mode="after")
    def _of_the_same_bins(self) -> "Reliability":
        if not len(self.confidence) == len(self.accuracy) == len(self.count):
            raise ValueError("reliability must have as many confidences and accuracies as counts")
        return self


class GapBins(Part):
    """The bound gap of single rows: edges between the bins, and the count and the sum of each."""

    edges: list[float] = Field(min_length=1)
    count: list[NonNegativeInt]
    total: list[Number]

    def check(self) -> None:
        """Raise ValueError where the lengths do not fit."""
        if not len(self.edges) + 1 == len(self.count) == len(self.total):
            raise ValueError("details.bound_gap must have one bin more than edges")


class Kept(Part):
    """The rows kept when those above an entropy are left out."""

    coverage: Number = None
    kept: Number = None
    abstain_above: Number = None
    accuracy: Number = None


class Honesty(Part):
    """How honest probabilities are."""

    nll: Number = None
    ece: Number = None
    brier: Number = None


class Tempered(Part):
    """What a temperature does to a route's probabilities."""

    temperature: Number = None
    before: Honesty
    after: Honesty
    reliability: Reliability | None = None


class Calibration(Part):
    """The temperatures fitted on validation rows, judged on rows that were not trained on."""

    fitted_on: NonNegativeInt
    mixture: Tempered
    top1: Tempered


class Details(Part):
    """Who answered what, on rows that were not trained on: K experts, C classes.

    Of several labels `gate_by_class` has those rows that have each; reliability and confusion are of classes alone.
    """

    expert_share: list[Number]
    mean_gate: list[Number]
    gate_by_class: list[list[Number]] = Field([])
    reliability: Reliability | None = None
    confusion: list[list[NonNegativeInt]] = Field([])
    bound_gap: GapBins | None = None
    selective: list[Kept] = Field([])

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


class Image(Part):
    """A row as a picture."""

    png: Png
    label: Text
    predicted: Text
    probability: Number = None


class Value(Part):
    """A number's mean, or a category's share, among an expert's rows and among all."""

    column: Text
    value: Text | None = None
    mean: Number = None
    overall: Number = None
    deviations: Number = None


class TypicalExpert(Part):
    """What is typical of one expert: images, or values."""

    expert: NonNegativeInt
    share: Number = None
    images: list[Image] = Field([])
    values: list[Value] = Field([])


class Typical(Part):
    """What is typical of each expert."""

    rows: NonNegativeInt
    experts: list[TypicalExpert]

    def check(self, num_experts: int) -> None:
        """Raise ValueError where one is not of K experts."""
        if any(each.expert >= num_experts for each in self.experts):
            raise ValueError(f"typical.experts must have numbers below {num_experts}")
