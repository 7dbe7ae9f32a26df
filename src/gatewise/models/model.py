"""A model on disk: weights in safetensors, its shape in JSON, its preprocessing in skops; no pickle."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gatewise.config.objective import build_objective
from gatewise.config.run import RunConfig
from gatewise.data import Classes, Preprocessing, Records, StoredRows, fit_preprocessing, load_preprocessing
from gatewise.data.streaming.records import some_of
from gatewise.errors import GatewiseError
from gatewise.files import check_regular, read_json, replacing, write_json
from gatewise.metrics.calibration import Calibration
from gatewise.mixture import MixtureOfExperts
from gatewise.models.numeric_embedding import quantile_bins
from gatewise.models.spec import ModelSpec
from gatewise.models.task import KINDS
from gatewise.objectives import Objective
from gatewise.training.input.datasets import HELD
from gatewise.wording import shown


@dataclass(frozen=True)
class Model:
    """A mixture with what stands before it: the preprocessing of rows, and the names of classes.

    Attributes:
        mixture: in inference mode.
        spec: how it was built.
        preprocessing: fitted on the training rows.
        calibration: the temperatures of its probabilities; None before they are fitted.
    """

    mixture: MixtureOfExperts
    spec: ModelSpec
    preprocessing: Preprocessing
    calibration: Calibration | None = None

    @property
    def classes(self) -> Classes:
        """The classes, in the order of the mixture's outputs."""
        return Classes(tuple(self.spec.classes))

    def inputs(self, records: Records) -> Tensor:
        """Rows as the mixture takes them, `[N, ...]`."""
        return torch.from_numpy(self.preprocessing.transform(records))

    def rows(self, records: Records) -> tuple[Tensor, Tensor]:
        """Rows and their targets, for `fit` and `evaluate`: classes int64 `[N]`, or as their `Kind` has them."""
        if self.spec.head in KINDS:
            y = KINDS[self.spec.head].encoded(self.spec, records)
        else:
            y = torch.from_numpy(self.classes.encode(records.known_labels(), records.place))
        return self.inputs(records), y

    def known_calibration(self) -> Calibration:
        """The temperatures, where they are needed.

        Raises:
            GatewiseError: if there are none.
        """
        if self.calibration is None:
            raise GatewiseError("this run keeps no calibration, as older versions made none; train it again")
        return self.calibration

    def save(self, folder: Path) -> None:
        """Write `weights.safetensors`, `model.json` and the preprocessing into `folder`."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.preprocessing.save(folder)
        except OSError as error:
            raise GatewiseError(f"cannot write into {folder}: {error.strerror or error}") from None
        write_json(folder / "model.json", self.spec.model_dump())
        if self.calibration is not None:
            self.calibration.save(folder)
        weights = {name: value.detach().cpu().contiguous() for name, value in self.mixture.state_dict().items()}
        path = folder / "weights.safetensors"
        try:
            with replacing(path) as part:
                save_file(weights, part)
        except SafetensorError as error:
            raise GatewiseError(f"cannot write {path}: {error}") from None

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu") -> "Model":
        """Read what `save` wrote.

        Raises:
            GatewiseError: if a file is missing, damaged, or does not fit the others.
        """
        try:
            # strict, as true is no number; as JSON, where a dictionary may still stand for what is made from it
            spec = ModelSpec.model_validate_json(json.dumps(read_json(folder / "model.json")), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise GatewiseError(f"{folder / 'model.json'} does not describe a model: {where}: {first['msg']}") from None
        mixture = _with_weights(spec, folder / "weights.safetensors")
        preprocessing, calibration = load_preprocessing(folder), Calibration.load(folder)
        there = f"rows of {list(preprocessing.input_shape)}, {preprocessing.numbers} of them numbers"
        if list(preprocessing.input_shape) != spec.input_shape or preprocessing.numbers < spec.numbers:
            raise _unfit(folder / "preprocessing.json", f"it makes {there}, and the model takes {spec.input_shape}")
        if calibration is not None and spec.head != "categorical":
            raise _unfit(folder / "calibration.json", f"the head {spec.head} has no temperatures")
        return cls(mixture.to(device).eval(), spec, preprocessing, calibration)


def _with_weights(spec: ModelSpec, path: Path) -> MixtureOfExperts:
    """The mixture with the weights of a file; of a size that the file has, whatever model.json says."""
    try:
        check_regular(path)
        weights = load_file(path)  # mapped: what is not looked at is not read
    except FileNotFoundError:
        raise GatewiseError(f"{path} is missing") from None
    except (SafetensorError, OSError) as error:
        raise GatewiseError(f"{path} is not a safetensors file: {error}") from None
    numbers = sum(value.numel() for value in weights.values())
    if spec.least_tensors > len(weights) or sum(spec.bin_counts) > numbers:
        raise _unfit(path, f"it has {len(weights)} tensors of {numbers} numbers, and its model more")
    # bins cannot be made without memory; the other embedding has the same width
    other = {"numeric_embedding": "periodic"} if spec.numeric_embedding == "piecewise-linear" else {}
    try:
        with torch.device("meta"):  # takes no memory
            sketch = spec.model_copy(update=other).build()
    except GatewiseError as error:
        raise GatewiseError(f"{path.with_name('model.json')} does not describe a model: {error}") from None
    _check_forms(sketch, weights, path, but="embedding." if other else None)
    mixture = spec.build()
    _check_forms(mixture, weights, path)
    for name, value in weights.items():
        if not bool(value.isfinite().all()):
            raise GatewiseError(f"{path} is damaged: {name} holds numbers that are not finite; train the run again")
    mixture.load_state_dict(weights)
    return mixture


def _check_forms(mixture: MixtureOfExperts, weights: dict[str, Tensor], path: Path, but: str | None = None) -> None:
    """Refuse weights with other names, shapes or types than the mixture's, apart from those whose name holds `but`."""
    here, there = (
        {name: f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}" for name, value in tensors.items()}
        for tensors in (mixture.state_dict(), weights)
    )
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name) and (but is None or but not in name):
            raise _unfit(path, f"{shown(name)} is {there.get(name, 'not there')}, not {here.get(name, 'of its model')}")


def _unfit(path: Path, why: str) -> GatewiseError:
    return GatewiseError(f"{path} does not fit model.json beside it: {why}; restore the folder, or train the run again")


def assemble(
    config: RunConfig,
    train: Records | StoredRows,
    classes: Sequence[str],
    device: torch.device,
    head: str = "categorical",
    target: Mapping[str, Any] | None = None,
) -> tuple[Model, Objective]:
    """A model for the rows to train on, as it is before training, and its objective.

    For a `head` of `gatewise.models.spec.HEADS` that is not categorical there are no classes; `target` then has the
    keys of `ModelSpec` that describe the targets.

    Raises:
        GatewiseError: for rows or a configuration that no model can be built for.
    """
    columns = {key: getattr(config, key) for key in ("keep", "drop", "outliers")}
    preprocessing = fit_preprocessing(train, config.numeric, **columns)
    spec = ModelSpec.from_config(config, preprocessing.input_shape, tuple(classes), head, target)
    spec, bins = with_embedding(spec, config, preprocessing, train)
    model = Model(spec.build(bins).to(device), spec, preprocessing)
    return model, build_objective(config, spec.features, len(classes))


def with_embedding(
    spec: ModelSpec, config: RunConfig, preprocessing: Preprocessing, train: Records | StoredRows
) -> tuple[ModelSpec, list[torch.Tensor] | None]:
    """The spec with the numbers that are embedded and their bins, and the bins' edges from the rows to train on.

    Raises:
        GatewiseError: for images, convolutions, or rows without a number.
    """
    if config.numeric_embedding == "none":
        return spec, None
    if len(preprocessing.input_shape) != 1 or "conv" in (config.expert, config.gate):
        raise GatewiseError("numeric_embedding is for numbers in columns, not for images; leave it out")
    if not (numbers := preprocessing.numbers):
        raise GatewiseError(f"{train.name}: no column of numbers to embed; leave numeric_embedding out")
    bins = None
    if config.numeric_embedding == "piecewise-linear":
        rows = torch.from_numpy(preprocessing.transform(some_of(train, HELD))[:, :numbers])
        bins = quantile_bins(rows, config.numeric_bins)
    counts = [len(edges) - 1 for edges in bins or []]
    return spec.model_copy(update={"numbers": numbers, "bin_counts": counts}), bins
