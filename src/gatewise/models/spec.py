"""From a configuration to modules: the mixtures that the command line builds, and their objective."""

import inspect
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from torch import Tensor, nn

from gatewise.config.run import MOST_LAYERS, RunConfig
from gatewise.data.number_format import NumberFormat
from gatewise.errors import GatewiseError
from gatewise.mixture import ConvExpert, ConvGate, Gate, Head, MixtureOfExperts, MLPBank, mlp
from gatewise.mixture.heads import HEADS
from gatewise.models.numeric_embedding import NumericEmbedding, any_bins
from gatewise.wording import shown

MOST_NUMBERS = 2**32
"""Numbers of a row, at most."""

Size = Annotated[int, Field(ge=1, le=2**20)]
Widths = Annotated[list[Size], Field(max_length=MOST_LAYERS)]


def _different(names: list[str]) -> list[str]:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"{shown(twice[0])} is there twice")
    return names


Names = Annotated[list[str], AfterValidator(_different)]


class Label(BaseModel):
    """One of several labels: its name, and the values that count as 0 and as 1."""

    model_config = ConfigDict(extra="forbid")

    name: str
    values: Names = Field(min_length=2, max_length=2)


class ModelSpec(BaseModel):
    """All that is needed to build a mixture anew before its weights are loaded: `model.json` in a run folder."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    format: Literal[1] = 1
    input_shape: list[Size] = Field(min_length=1)
    classes: Names
    experts: int = Field(ge=1, le=65536)
    expert: Literal["mlp", "linear", "conv"]
    expert_hidden: Widths
    gate_hidden: Widths
    trunk_hidden: Widths
    dropout: float = Field(ge=0, lt=1)
    gate: Literal["mlp", "conv"] = "mlp"
    gate_map: str = "softmax"
    gate_temperature: float = 1.0
    gate_top_k: int = Field(0, ge=0)
    balance_rate: float = Field(0.0, ge=0)
    numeric_embedding: Literal["none", "piecewise-linear", "periodic"] = "none"
    numeric_width: int = Field(8, ge=1, le=4096)
    numeric_frequency: float = Field(0.01, gt=0, le=1000)
    numbers: int = Field(0, ge=0, le=2**20)
    bin_counts: list[Size] = []
    labels: list[Label] = []
    head: str = Field("categorical", validate_default=True)
    target_location: float = 0.0
    target_unit: float = Field(1.0, gt=0)
    target_format: NumberFormat | None = None

    @field_validator("input_shape")
    @classmethod
    def _of_a_row(cls, value: list[int]) -> list[int]:
        """No more numbers than a row can have."""
        if math.prod(value) > MOST_NUMBERS:
            raise ValueError(f"a row of more than {MOST_NUMBERS} numbers")
        return value

    @field_validator("labels")
    @classmethod
    def _each_once(cls, value: list[Label]) -> list[Label]:
        """No label twice."""
        _different([label.name for label in value])
        return value

    @field_validator("bin_counts")
    @classmethod
    def _fits_numbers(cls, value: list[int], info: ValidationInfo) -> list[int]:
        """Bins for every number that is embedded piecewise, and no more numbers than there are."""
        numbers = info.data.get("numbers", 0)
        if numbers > math.prod(info.data.get("input_shape", [])) or len(value) not in (0, numbers):
            raise ValueError(f"bins of {len(value)} numbers, where {numbers} are embedded")
        return value

    @field_validator("head")
    @classmethod
    def _fits_classes(cls, value: str, info: ValidationInfo) -> str:
        """Two classes for a head of classes, a label for one of labels, and neither for another."""
        classes, labels, task = info.data.get("classes"), info.data.get("labels"), HEADS.named(value).task
        if classes is not None and (task == "classification") != (len(classes) >= 2):
            raise ValueError(f"the head {value} does not fit {len(classes)} classes")
        if labels is not None and (task == "multilabel") != bool(labels):
            raise ValueError(f"the head {value} does not fit {len(labels)} labels")
        return value

    @classmethod
    def from_config(
        cls,
        config: RunConfig,
        input_shape: tuple[int, ...],
        classes: tuple[str, ...],
        head: str = "categorical",
        target: Mapping[str, Any] | None = None,
    ) -> "ModelSpec":
        """The part of a configuration that shapes the model; without classes `target` has the keys of the targets."""
        shared: dict[str, Any] = {
            name: getattr(config, name) for name in cls.model_fields if name in RunConfig.model_fields
        }
        own: dict[str, Any] = {"experts": config.num_experts, "head": head}
        return cls(input_shape=list(input_shape), classes=list(classes), **shared | own | dict(target or {}))

    @property
    def features(self) -> int:
        """Numbers that an expert sees of a row."""
        return self.trunk_hidden[-1] if self.trunk_hidden else self.embedded

    @property
    def embedded(self) -> int:
        """Numbers of a row after its embedding, where it has one."""
        more = self.numbers * (self.numeric_width - 1) if self.numeric_embedding != "none" else 0
        return math.prod(self.input_shape) + more

    @property
    def least_tensors(self) -> int:
        """Tensors that its weights have at least: known before anything is built."""
        layers = len(self.trunk_hidden) + len(self.gate_hidden) + len(self.expert_hidden) * (self.expert == "mlp")
        if self.expert != "conv":
            return 2 * layers
        with torch.device("meta"):
            return 2 * layers + self.experts * len(ConvExpert(tuple(self.input_shape), 1).state_dict())

    def build(self, bins: Sequence[Tensor] | None = None) -> MixtureOfExperts:
        """The mixture, freshly initialised; with the edges of `bin_counts`, or with others until weights are loaded.

        Raises:
            GatewiseError: for a convolutional gate or expert on rows that are not images, or behind a trunk.
        """
        if "conv" in (self.expert, self.gate) and (self.trunk_hidden or self.numeric_embedding != "none"):
            raise GatewiseError("'conv' needs the image itself; leave trunk_hidden and numeric_embedding out")
        try:
            return MixtureOfExperts(self._gate(), self._experts(), trunk=self._trunk(bins), head=self._head())
        except RuntimeError as error:  # what torch raises when memory does not suffice
            raise GatewiseError(f"the model cannot be built: {error}; take fewer or smaller experts") from None

    def _trunk(self, bins: Sequence[Tensor] | None) -> nn.Module | None:
        trunk = None
        if self.trunk_hidden:
            *hidden, last = self.trunk_hidden
            layers = mlp(self.embedded, hidden, last, self.dropout)
            trunk = nn.Sequential(*layers, nn.ReLU(), nn.Dropout(self.dropout))
        if self.numeric_embedding == "none":
            return trunk
        edges = any_bins(self.bin_counts) if bins is None else bins
        if not self.numbers or (self.numeric_embedding == "piecewise-linear" and len(edges) != self.numbers):
            raise GatewiseError(f"numeric_embedding of {self.numbers} numbers with bins of {len(edges)}")
        embedding = NumericEmbedding(
            self.numeric_embedding, self.numbers, self.numeric_width, edges, self.numeric_frequency
        )
        return embedding if trunk is None else nn.Sequential(embedding, *trunk)

    def _head(self) -> Head:
        made, scaling = HEADS.named(self.head), {"location": self.target_location, "unit": self.target_unit}
        taken = inspect.signature(made).parameters
        return made(**{name: value for name, value in scaling.items() if name in taken})

    def _gate(self) -> nn.Module:
        """The network itself where it is all there is to the gate."""
        if self.gate == "conv":
            network = ConvGate(tuple(self.input_shape), self.experts)
        else:
            network = mlp(self.features, self.gate_hidden, self.experts)
        if (self.gate_map, self.gate_temperature, self.gate_top_k, self.balance_rate) == ("softmax", 1.0, 0, 0.0):
            return network
        return Gate(
            network,
            self.experts,
            map=self.gate_map,
            temperature=self.gate_temperature,
            top_k=self.gate_top_k or None,
            noise_features=self.features if self.gate_top_k else None,
            balance=self.balance_rate > 0,
        )

    def _experts(self) -> MLPBank | list[ConvExpert]:
        outputs = HEADS.named(self.head).outputs or len(self.classes or self.labels)
        if self.expert == "conv":
            return [ConvExpert(tuple(self.input_shape), outputs, dropout=self.dropout) for _ in range(self.experts)]
        hidden = [] if self.expert == "linear" else self.expert_hidden
        return MLPBank(self.experts, self.features, hidden, outputs, self.dropout)
