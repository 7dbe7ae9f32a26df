"""What the report reads of audits.jsonl, checked before anything is drawn."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from gatewise.errors import GatewiseError


class AlongRow(BaseModel):
    """The estimator in training, as it was measured once."""

    model_config = ConfigDict(allow_inf_nan=False)

    label: str
    temperature: float | None
    relative_bias: float
    relative_bias_low: float
    relative_bias_high: float
    relative_std: float


class AlongLine(BaseModel):
    """One audit: no rows where there was no gradient to compare with, and then the reason."""

    model_config = ConfigDict(allow_inf_nan=False)

    epoch: int
    rows: list[AlongRow]
    reason: str | None = None


def parse_audit(value: object, where: str) -> dict[str, Any]:
    """A line of audits.jsonl.

    Raises:
        GatewiseError: if it does not fit.
    """
    try:
        return AlongLine.model_validate(value).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the line"
        raise GatewiseError(f"{where}: {key}: {first['msg']}; restore the file, or train the run again") from None
