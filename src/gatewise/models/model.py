"""A model on disk: weights in safetensors, its shape in JSON, its preprocessing in skops; no pickle."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gatewise.cli.machine import installed_version
from gatewise.data import Classes, Preprocessing, Records, load_preprocessing
from gatewise.errors import GatewiseError
from gatewise.files import check_regular, read_json, replacing, write_json
from gatewise.metrics.calibration import Calibration
from gatewise.mixture import MixtureOfExperts
from gatewise.models.spec import ModelSpec
from gatewise.models.task import KINDS
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
            spec = ModelSpec(**read_json(folder / "model.json"))
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
    with torch.device("meta"):  # takes no memory
        _check_forms(spec.model_copy(update=other).build(), weights, path, but="embedding." if other else None)
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


def environment() -> dict[str, object]:
    """What a run ran on: `environment.json`."""
    packages = ("gatewise", "torch", "numpy", "polars", "scikit-learn", "safetensors", "skops")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": {name: installed_version(name) for name in packages},
    }


def differences(there: dict[str, object]) -> list[str]:
    """What `environment.json` of a run says otherwise than this machine: Python, threads, the device and packages."""
    now = environment()
    packages = there.get("packages")
    before = {"python": there.get("python"), "threads": there.get("threads"), "cuda": there.get("cuda")}
    before |= packages if isinstance(packages, dict) else {}
    today = {name: now[name] for name in ("python", "threads", "cuda")} | now["packages"]  # pyrefly: ignore
    return [
        f"{name} {today[name]}, then {before[name]}" for name in today if name in before and before[name] != today[name]
    ]
