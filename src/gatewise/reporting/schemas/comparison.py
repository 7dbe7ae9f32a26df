"""The schema of comparison.json, checked before anything is drawn."""

from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError
from pydantic import model_validator as validator

from gatewise.errors import GatewiseError
from gatewise.reporting.schemas.fields import Number, Schema, Text
from gatewise.reporting.schemas.run import Data, Metrics
from gatewise.wording import setting


class Interval(Schema):
    """A mean over seeds, and the ends of its interval; None for the ends where there is one seed."""

    mean: Number = None
    low: Number = None
    high: Number = None

    @property
    def half(self) -> float | None:
        """Half its width."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


class Difference(Interval):
    """How many more nats an example than the best, over so many seeds that both have."""

    seeds: PositiveInt


class Figures(Schema):
    """The measures of one combination on one part of the data."""

    nll: Interval
    accuracy: Interval
    nll_top1: Interval
    accuracy_top1: Interval
    experts_used: Interval
    dead_experts: Interval
    effective_experts: Interval
    mutual_information: Interval


class CombinationSchema(Schema):
    """An objective with an estimator."""

    name: Text
    experts: PositiveInt
    evaluations: NonNegativeInt | None = None
    seeds_done: NonNegativeInt
    seeds_failed: NonNegativeInt
    validation: Figures | None = None
    test: Figures | None = None
    epochs: Number = None
    seconds: Number = None
    difference: Difference | None = None


class CellSchema(Schema):
    """One training."""

    combination: Text
    seed: NonNegativeInt
    folder: Text
    status: Literal["done", "failed"]
    reason: Text | None = None
    trained_before: bool = False
    gatewise: Text | None = None
    epochs: NonNegativeInt | None = None
    best_epoch: int | None = None
    still_improving: bool | None = None
    seconds: Number = None
    validation: Metrics | None = None
    test: Metrics | None = None


class ComparisonSchema(Schema):
    """comparison.json."""

    gatewise: Text
    command: Text
    judged: Literal["test", "validation"]
    seeds: list[int] = Field(min_length=1)
    confidence: float = Field(gt=0, lt=1)
    config: dict[Text, Any] = Field({})
    data: Data | None = None
    combinations: list[CombinationSchema] = Field(min_length=1)
    cells: list[CellSchema]
    seconds: Number = None

    @validator(mode="after")
    def _named(self) -> "ComparisonSchema":
        unknown = {cell.combination for cell in self.cells} - {combination.name for combination in self.combinations}
        if unknown:
            raise ValueError("every cell must name one of the combinations")
        return self

    @property
    def title(self) -> str:
        """The name of the data, which no cell tells where none is finished."""
        return setting(self.config.get("data")) if self.data is None else self.data.name

    @property
    def finished(self) -> list[CombinationSchema]:
        """The combinations that have a number, best first."""
        return [combination for combination in self.combinations if self.figures(combination) is not None]

    def figures(self, combination: CombinationSchema) -> Figures | None:
        """The measures on the rows that the order is by."""
        return combination.test if self.judged == "test" else combination.validation

    def metrics(self, cell: CellSchema) -> Metrics | None:
        """A cell's measures on the rows that the order is by."""
        return cell.test if self.judged == "test" else cell.validation

    def done(self, combination: CombinationSchema) -> list[CellSchema]:
        """The finished cells of a combination."""
        return [cell for cell in self.cells if cell.combination == combination.name and cell.status == "done"]

    @property
    def rows_judged(self) -> int:
        """How many rows the order rests on in each cell."""
        return 0 if self.data is None else getattr(self.data, f"{self.judged}_rows")


def parse_comparison(value: object, where: str) -> ComparisonSchema:
    """The comparison, checked.

    Raises:
        GatewiseError: naming the first entry that does not fit.
    """
    try:
        return ComparisonSchema.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        entry = ".".join(map(str, first["loc"])) or "the whole"
        told = " ".join(f"{where}: {entry}: {first['msg']}".split())
        raise GatewiseError(f"{told}; restore the file, or run gatewise compare again") from None
