"""The schema of audit.json and audits.jsonl, checked before anything is drawn."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError
from pydantic import model_validator as validator

from gatewise.errors import GatewiseError
from gatewise.reporting.schemas.fields import Text


class AuditSchema(BaseModel):
    """Some of what audit.json or a line of audits.jsonl holds."""

    model_config = ConfigDict(allow_inf_nan=False)  # keys not named here pass: they are not shown there


class AlongRow(AuditSchema):
    """The estimator in training, as it was measured once."""

    label: Text
    temperature: float | None
    relative_bias: float
    relative_bias_low: float
    relative_bias_high: float
    relative_std: float


class AlongLine(AuditSchema):
    """One audit: no rows where there was no gradient to compare with, and then the reason."""

    epoch: int
    rows: list[AlongRow]
    reason: Text | None = None


class AuditedRow(AlongRow):
    """One setting of one estimator."""

    estimator: Text
    num_samples: PositiveInt
    unbiased: bool
    biased: bool
    relative_scale_high: float
    cosine: float
    relative_mse: float
    cost: float
    own: bool


class Choice(AuditSchema):
    """An estimator to use."""

    estimator: Text
    num_samples: PositiveInt
    options: dict[Text, Any]


class Recommended(AuditSchema):
    """The one to use, if there is one, and why."""

    estimator: Text | None
    num_samples: PositiveInt | None
    options: dict[Text, Any]
    reason: Text


class ChoiceWithin(Choice):
    """The one to use within so many evaluations, and the row that measured it."""

    evaluations: PositiveInt
    row: NonNegativeInt


class AuditFile(AuditSchema):
    """audit.json."""

    name: Text
    rows: list[AuditedRow] = Field(min_length=1)
    recommended: Recommended
    by_evaluations: list[ChoiceWithin]
    max_evaluations: PositiveInt
    mixture: bool
    notes: list[Text]

    @validator(mode="after")
    def _numbered(self) -> "AuditFile":
        if any(choice.row >= len(self.rows) for choice in self.by_evaluations):
            raise ValueError("every choice must name one of the rows")
        return self


def parse_audit(value: object, where: str) -> dict[str, Any]:
    """A line of audits.jsonl.

    Raises:
        GatewiseError: if it does not fit.
    """
    return _parsed(AlongLine, value, f"{where}: {{}}; restore the file, or train the run again")


def parse_audit_file(value: object, where: str) -> dict[str, Any]:
    """What the report of a run shows of audit.json.

    Raises:
        GatewiseError: if it does not fit.
    """
    return _parsed(AuditFile, value, f"{where}: {{}}; restore the file, or run gatewise audit again")


def _parsed(kind: type[AuditSchema], value: object, refusal: str) -> dict[str, Any]:
    try:
        return kind.model_validate(value).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        told = f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}"
        raise GatewiseError(refusal.format(" ".join(told.split()))) from None
