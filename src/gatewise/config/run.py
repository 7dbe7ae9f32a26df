"""The configuration of a run: flat, typed, and refused where it is not known.

The keys are those of the TOML file, and the long names of the command line's flags with underscores.
"""

import re
from collections.abc import Iterable
from typing import Any, Literal

import tomli_w
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gatewise.data.dates import as_date_format
from gatewise.data.missing_values import MISSING, MISSING_NUMBERS
from gatewise.data.read_options import Form, as_separator
from gatewise.data.readers.text_files import as_encoding
from gatewise.data.target_columns import joined, names_of
from gatewise.errors import GatewiseError
from gatewise.mixture.heads import HEADS
from gatewise.schedules import as_schedule
from gatewise.wording import instead, shortened

NUMBER_OR_SCHEDULE = float | str
MOST_EXPERTS, ROWS_AN_EXPERT = 8, 25
"""How many experts there are where it is not set, and the training rows that each should have."""
MOST_LAYERS = 1000
"""Hidden layers of a network, at most."""
OTHER_NAMES = {
    "batch_size": ("batch", "minibatch_size"),
    "clip": ("grad_clip", "gradient_clip", "max_grad_norm"),
    "device": ("gpu",),
    "drop": ("exclude", "ignore", "drop_columns"),
    "epochs": ("max_epochs", "max_iter", "n_epochs", "num_epochs"),
    "expert_hidden": ("hidden", "hidden_layer_sizes", "hidden_size", "hidden_sizes", "width"),
    "experts": ("k", "n_components", "n_experts", "num_experts"),
    "lr": ("alpha", "eta", "learning_rate"),
    "missing": ("na", "na_values", "null_values"),
    "objective": ("loss",),
    "patience": ("early_stopping",),
    "samples": ("n_samples", "num_samples"),
    "seed": ("random_seed", "random_state"),
    "separator": ("delimiter", "sep"),
    "target": ("label", "target_column", "y"),
    "temperature": ("tau",),
    "test_size": ("split", "test_fraction", "test_split"),
    "validation_size": ("val_size", "val_split", "validation_fraction", "validation_split"),
    "weight_decay": ("l2", "wd"),
}
"""What other software calls the keys."""


MAKE_ONE = 'make one with gw.config.load_config({"data": "iris", "epochs": 20})'
"""What is said to a caller who gives something else for a configuration."""


def key_meant(given: str) -> str | None:
    """The key that other software calls so; None where there is none."""
    return next((key for key, others in OTHER_NAMES.items() if given in others), None)


def key_instead(given: str, keys: Iterable[str]) -> str:
    """The end of a sentence that refuses a key: what other software means by it, or the nearest, or all of them."""
    meant = key_meant(given)
    return f"; did you mean {meant!r}?" if meant else instead(given, keys)


class BadKey(GatewiseError):
    """The first key of a configuration that is unknown or has a bad value.

    Attributes:
        key: its name.
        said: what is wrong with it.
        known: whether there is such a key.
    """

    def __init__(self, error: ValidationError, keys: Iterable[str]):
        # what is not known is told first: it may be the misspelt name of one that is missing
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        self.key, self.known = str(first["loc"][0]), first["type"] != "extra_forbidden"
        if self.known:
            said = first["msg"].removeprefix("Value error, ")
            given = "" if first["type"] == "missing" else f", got {shortened(repr(first['input']))}"
            self.said = f"{said[0].lower()}{said[1:]}{given}"
        else:
            self.said = f"unknown key {self.key!r}{key_instead(self.key, keys)}"
        super().__init__(self.of("the configuration"))

    def of(self, source: str) -> str:
        """The sentence, of a configuration that came from a source."""
        return f"{source}: {self.key}: {self.said}" if self.known else f"{source} has an {self.said}"


class LoopConfig(BaseModel):
    """What the training loop needs to know."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)

    def __init__(self, **keys: Any):
        try:
            super().__init__(**keys)
        except ValidationError as error:
            raise BadKey(error, type(self).model_fields) from None

    epochs: int | None = Field(
        None,
        examples=[20],
        ge=1,
        description="passes over the training rows, at most; unset: 2000 steps' worth, from 15 to 300",
    )
    starts: int | None = Field(
        None,
        ge=1,
        examples=[3],
        description="starts from other weights, of which the best goes on after a fifth of the epochs; unset: 3, or 1 "
        "where there are fewer than 5 epochs or the weights are given",
    )
    batch_size: int | None = Field(
        None, examples=[128], ge=1, description="rows an optimiser step; unset: a twentieth of the rows, from 64 to 256"
    )
    accumulate: int = Field(1, ge=1, description="micro-batches that a step's rows are split into, to save memory")
    lr: float = Field(1e-3, gt=0, description="AdamW's learning rate at the start")
    gate_lr: float | None = Field(
        None,
        examples=[0.005],
        gt=0,
        description="the gate's learning rate; unset: lr, and more for a linear gate of under 1600 inputs",
    )
    gate_warmup: float = Field(
        0.2, ge=0, lt=1, description="share of the steps in which the gate's learning rate rises from lr to its own"
    )
    lr_schedule: Literal["constant", "cosine"] = Field("cosine", description="the learning rate over training")
    weight_decay: float = Field(1e-2, ge=0, description="AdamW's decoupled weight decay")
    clip: float = Field(1.0, ge=0, description="largest norm of the gradient; 0: not clipped")
    patience: int | None = Field(
        None,
        examples=[5],
        ge=0,
        description="epochs without a better validation NLL before it stops; 0: never; unset: epochs / 4",
    )
    balance_rate: float = Field(
        0.0, ge=0, description="how far a step moves the gate's bias towards balance; 0: no such bias"
    )
    warm_start: Literal["none", "kmeans"] = Field(
        "none", description="what tells each row's expert in the first epochs: clusters of the inputs"
    )
    warm_start_epochs: int | None = Field(
        None, examples=[3], ge=1, description="epochs of the warm start; unset: a tenth of all, at least 1"
    )
    reseed_after: int = Field(
        0, ge=0, description="epochs in a row after which a dead expert starts again as a copy of another; 0: never"
    )
    skip_nonfinite: int = Field(
        0, ge=0, description="batches with a loss or gradient that is not finite to pass over, at most; 0: it stops"
    )
    checkpoint_seconds: float = Field(
        30.0, ge=0, description="seconds between checkpoints of the training; 0: only where it is interrupted"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="auto: bfloat16 on CUDA")
    seed: int = Field(0, ge=0, lt=2**32, description="fixes the split, the weights, the noise and the order of rows")


class RunConfig(LoopConfig):
    """Everything a run is made from: what `config.toml` in a run folder holds."""

    data: str = Field(
        description="a bundled name, a .csv, .tsv (also .csv.gz, .csv.zst), .parquet or .npz file, or a folder of "
        "Parquet files or images"
    )
    target: str | None = Field(
        None,
        examples=["income"],
        description="the column to predict, its number where there is no header; several with commas between them, a "
        "name with a comma of its own then in double quotes",
    )
    head: str | None = Field(
        None,
        examples=["categorical"],
        description="what the target is: classes, numbers, numbers with outliers, counts, labels that are there or "
        "not; unset: guessed from it",
    )
    test: str | None = Field(
        None, examples=["test.csv"], description="a file of test rows; unset: split off by test_size"
    )
    test_size: float = Field(0.2, ge=0, lt=1, description="share of the rows kept for the test")
    validation_size: float = Field(0.125, gt=0, lt=1, description="share of the other rows kept for validation")
    stream: bool | None = Field(
        None,
        description="whether Parquet files are read anew in each epoch, so that they may be larger than memory; unset: "
        "from 100 million values (rows x columns) on",
    )
    stream_rows: int | None = Field(
        None,
        examples=[100000],
        ge=1,
        description="rows of the buffer that streamed rows are shuffled in; unset: 16 million values, at most 200,000 "
        "rows",
    )
    missing: list[str] = Field([*MISSING], description="what stands for a missing value in a table, empty or not")
    missing_numbers: list[str] | None = Field(
        None,
        examples=[["NA", "-"]],
        description="what does besides, where a column is otherwise of numbers, and in the target; unset: what R, "
        "pandas, Excel and SQL write",
    )
    missing_target: Literal["drop", "error", "class"] = Field(
        "drop",
        description="rows without a target: drop leaves them out, error refuses them, class takes every text for a "
        "class and leaves out what is empty",
    )
    rare_classes: Literal["error", "drop", "merge"] = Field(
        "error",
        description="classes with fewer rows than a split has parts: error refuses them, drop leaves their rows out, "
        "merge makes them one class",
    )
    as_numbers: list[str] = Field(
        [],
        description="columns that are numbers though not all values are: a range is its midpoint, and what is no "
        "number is missing",
    )
    separator: str | None = Field(
        None,
        examples=[";"],
        description="what separates the fields of a CSV file; unset: a comma, or a tab in a .tsv file",
    )
    header: bool | None = Field(
        None,
        examples=[False],
        description="whether a CSV file has one; false: columns c0, c1, …; unset: it has, and looks like one",
    )
    decimal: Literal[".", ","] | None = Field(
        None, examples=[","], description="of numbers in text, in the target too; unset: a point"
    )
    encoding: str | None = Field(
        None, examples=["cp1252"], description="of a CSV file, such as latin-1, cp1252 or utf-16; unset: UTF-8"
    )
    date_format: str | None = Field(
        None,
        examples=["%d.%m.%Y"],
        description="how dates in text are written besides 2020-12-31 and 2020-12-31T23:59:00, as for Python's "
        "strptime",
    )
    reading: Literal[1, 2] = Field(
        2,
        description="by which rules tables and images are read; 1: as before version 0.2, when booleans were "
        "categories, dates were refused, indices of pandas were features, and $3.50 was text",
    )
    image_size: list[int] | None = Field(
        None,
        examples=[[28, 28]],
        description="height and width of images; unset: that of all where they agree, else 32 × 32",
    )
    image_mode: Literal["grey", "rgb"] | None = Field(
        None, description="channels of images; unset: grey where all are grey, else rgb"
    )
    numeric: Literal["standard", "quantile"] = Field("standard", description="how numeric columns are scaled")
    outliers: Literal["squash", "keep"] = Field(
        "squash", description="numbers far outside those of most rows: brought near, or kept where they are"
    )
    numeric_embedding: Literal["none", "piecewise-linear", "periodic"] = Field(
        "none", description="numbers as learned vectors; needs the package rtdl_num_embeddings"
    )
    numeric_width: int = Field(8, ge=1, le=4096, description="numbers in the vector of numeric_embedding")
    numeric_bins: int = Field(48, ge=2, le=4096, description="bins of a number, at most, for piecewise-linear")
    numeric_frequency: float = Field(
        0.01, gt=0, le=1000, description="spread of the frequencies of periodic at the start; larger: finer steps"
    )
    drop: list[str] = Field([], description="columns of a table that are not used")
    keep: list[str] = Field([], description='columns that are used though nearly every value is different; ["*"]: all')

    start_from: str | None = Field(
        None,
        examples=["runs/digits-1"],
        description="a run folder whose weights, preprocessing and shape training starts from",
    )
    experts: int | None = Field(
        None,
        examples=[4],
        ge=1,
        le=65536,
        description="how many experts; unset: 8, or fewer, for 25 training rows each",
    )
    expert: Literal["mlp", "linear", "conv"] = Field("mlp", description="what an expert is")
    expert_hidden: list[int] = Field([256], description="widths of an expert's hidden layers")
    expert_prior: list[float] | None = Field(
        None,
        examples=[[0.7, 0.3]],
        description="probabilities that the regulariser prior expects of the experts; unset: all the same",
    )
    gate: Literal["mlp", "conv"] = Field("mlp", description="what the gate's network is")
    gate_hidden: list[int] = Field([], description="widths of the gate's hidden layers; none: a linear gate")
    gate_map: str = Field("softmax", description="from scores to probabilities: softmax, sparsemax, entmax15")
    gate_temperature: float = Field(1.0, description="what the gate's scores are divided by")
    gate_top_k: int = Field(0, ge=0, description="experts the gate keeps for a row, with noise in training; 0: all")
    trunk_hidden: list[int] = Field([], description="widths of a trunk that gate and experts share; none: no trunk")
    dropout: float = Field(0.2, ge=0, lt=1, description="after each hidden layer of experts and trunk")

    objective: str = Field("jensen", description="what is maximised")
    objective_options: dict[str, Any] = Field({}, description="the objective's own options")
    estimator: str | None = Field(
        None,
        examples=["score-function"],
        description="the gradient estimator, where the objective takes one; unset: enumeration, or what it names",
    )
    samples: int | None = Field(
        None, examples=[2], ge=1, le=65536, description="draws an example; unset: the objective's default"
    )
    temperature: NUMBER_OR_SCHEDULE | None = Field(
        None,
        examples=["exponential:1:0.3"],
        description="of the estimator or hard-em: a number or FORM:FROM:TO; unset: exponential:1:0.3, or its own",
    )
    baseline: str | None = Field(
        None, examples=["leave-one-out"], description="of the estimator; unset: its own default"
    )
    estimator_options: dict[str, Any] = Field({}, description="the estimator's other options")
    regulariser: dict[str, NUMBER_OR_SCHEDULE] = Field(
        {"importance": 0.3, "load": 0.3}, description="weights of the gate's regularisers"
    )

    class_weight: Literal["balanced"] | dict[str, float] | None = Field(
        None, description="weight of a class's rows: balanced, or a table of CLASS = WEIGHT (others: 1); unset: all 1"
    )

    audit_every: int = Field(0, ge=0, description="epochs between audits of the estimator in training; 0: none")
    tensorboard: bool = Field(
        False,
        description="whether event files for TensorBoard are written, in the run folder; needs the package tensorboard",
    )

    expert_parallel: int = Field(
        1, ge=1, description="processes that the experts are spread over; 1: each process has all of them"
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps")
    threads: int | None = Field(None, examples=[2], ge=1, description="of torch; unset: its own choice")

    @field_validator("drop", "keep", "missing", "missing_numbers", "as_numbers", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        """Take one text, or several with commas between them, beside a list; a number is the text that it is."""
        if value is None or isinstance(value, str):
            return value if value is None else names_of(value, "the list")
        values = value if isinstance(value, list) else [value]
        return [str(each) if isinstance(each, int | float) and not isinstance(each, bool) else each for each in values]

    @field_validator("expert_hidden", "gate_hidden", "trunk_hidden", "expert_prior", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        """Take one number, or several with commas between them, beside a list."""
        if isinstance(value, str):
            return value.split(",")
        return [value] if isinstance(value, int | float) and not isinstance(value, bool) else value

    @field_validator("target", mode="before")
    @classmethod
    def _number_of_a_column(cls, value: Any) -> Any:
        """Take numbers, and a list of columns."""
        names = value if isinstance(value, list) else [value]
        if not names or not all(isinstance(name, str | int) and not isinstance(name, bool) for name in names):
            return value
        return joined([str(name) for name in names]) if isinstance(value, list) else str(value)

    @field_validator("head")
    @classmethod
    def _registered_head(cls, value: str | None) -> str | None:
        if value is not None:
            HEADS.named(value)
        return value

    @field_validator("missing")
    @classmethod
    def _and_empty(cls, value: list[str]) -> list[str]:
        """What is empty is missing whatever else is."""
        return value if "" in map(str.strip, value) else ["", *value]

    @field_validator("separator")
    @classmethod
    def _separator(cls, value: str | None) -> str | None:
        return None if value is None else as_separator(value)

    @field_validator("encoding")
    @classmethod
    def _encoding(cls, value: str | None) -> str | None:
        return None if value is None else as_encoding(value)

    @field_validator("date_format")
    @classmethod
    def _date_format(cls, value: str | None) -> str | None:
        return None if value is None else as_date_format(value)

    @field_validator("image_size", mode="before")
    @classmethod
    def _height_and_width(cls, value: Any) -> Any:
        """Take one number for both."""
        sides = [value, value] if isinstance(value, int) else value
        if sides is not None and not (
            isinstance(sides, list | tuple)
            and len(sides) == 2
            and all(isinstance(side, int) and not isinstance(side, bool) and 1 <= side <= 4096 for side in sides)
        ):
            raise ValueError("give a side, or [height, width], from 1 to 4096")
        return sides

    @field_validator("class_weight", mode="before")
    @classmethod
    def _weights_of_classes(cls, value: Any) -> Any:
        """Take a list of CLASS=WEIGHT, or of balanced alone, beside a table."""
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            return value
        if value == ["balanced"]:
            return "balanced"
        pairs = [text.rpartition("=") for text in value]
        if not pairs or not all(name and equals and weight for name, equals, weight in pairs):
            raise ValueError("give balanced, or CLASS=WEIGHT such as yes=3")
        return {name: weight for name, _, weight in pairs}

    @field_validator("regulariser")
    @classmethod
    def _schedules(cls, value: dict[str, NUMBER_OR_SCHEDULE]) -> dict[str, NUMBER_OR_SCHEDULE]:
        for weight in value.values():
            as_schedule(weight)
        return value

    @field_validator("temperature")
    @classmethod
    def _schedule(cls, value: NUMBER_OR_SCHEDULE | None) -> NUMBER_OR_SCHEDULE | None:
        if value is not None:
            as_schedule(value)
        return value

    @field_validator("expert_hidden", "gate_hidden", "trunk_hidden")
    @classmethod
    def _widths(cls, value: list[int]) -> list[int]:
        if len(value) > MOST_LAYERS or any(not 1 <= width <= 2**20 for width in value):
            raise ValueError(f"every width must be from 1 to 1048576, and there are {MOST_LAYERS} layers at most")
        return value

    @field_validator("regulariser", mode="before")
    @classmethod
    def _weights(cls, value: Any) -> Any:
        """Take "none" and a list of NAME=WEIGHT beside a table."""
        if isinstance(value, dict):
            return value
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError("give a table of weights, a list of NAME=WEIGHT, or none")
        if texts == ["none"]:
            return {}
        pairs = [text.partition("=") for text in texts]
        if not all(name and equals and weight for name, equals, weight in pairs):
            raise ValueError("give NAME=WEIGHT, such as load=0.01, or none")
        return {name: weight for name, _, weight in pairs}

    @property
    def form(self) -> Form:
        """How the data are written, for `gatewise.data.read`."""
        height_width = None if self.image_size is None else (self.image_size[0], self.image_size[1])
        return Form(
            *(self.separator, self.header, self.decimal, self.encoding),
            image_size=height_width,
            image_mode=self.image_mode,
            reading=self.reading,
            date_format=self.date_format,
            missing_numbers=MISSING_NUMBERS if self.missing_numbers is None else tuple(self.missing_numbers),
            missing_target=self.missing_target,
            as_numbers=tuple(self.as_numbers),
            formats=None if self.reading > 1 else {},
        )

    @property
    def num_experts(self) -> int:
        """K; before `settled`, what it is for many rows."""
        return self.experts or len(self.expert_prior or []) or MOST_EXPERTS

    def settled(self, rows: int) -> "RunConfig":
        """The configuration for so many training rows: with what else is missing, and how many experts, if none is set.

        So it means the same whatever is unset later.
        """
        suited = max(2, min(MOST_EXPERTS, rows // ROWS_AN_EXPERT), self.gate_top_k)
        experts = self.experts if self.experts is not None else len(self.expert_prior or []) or suited
        return self.model_copy(update={"experts": experts, "missing_numbers": [*self.form.missing_numbers]})

    def to_toml(self) -> str:
        """As TOML; what is unset is left out."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))


def choose_device(name: str) -> torch.device:
    """The device called `name`; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        GatewiseError: for a device that is unknown or not there.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device("cuda" if there["cuda"] else "mps" if there["mps"] else "cpu")
    asked = re.fullmatch(r"(cpu|mps|cuda)|(cuda):([0-9]{1,4})", name)
    if asked is None:
        raise GatewiseError(f"unknown device {name!r}{instead(name, ['auto', *there, 'cuda:0'])}")
    kind = asked[1] or asked[2]
    if not there[kind] or (asked[3] and int(asked[3]) >= torch.cuda.device_count()):
        raise GatewiseError(f"device {name!r} is not there on this machine; use --device auto")
    return torch.device(name)
