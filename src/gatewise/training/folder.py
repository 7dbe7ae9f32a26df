"""A model on disk: weights in safetensors, its shape in JSON, its preprocessing in skops; no pickle."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gatewise.data import Classes, Preprocessing, Records, load_preprocessing
from gatewise.errors import GatewiseError
from gatewise.files import read_json, replacing, write_json
from gatewise.mixture import MixtureOfExperts
from gatewise.training.model import ModelSpec


@dataclass(frozen=True)
class Model:
    """A mixture with what stands before it: the preprocessing of rows, and the names of classes.

    Attributes:
        mixture: in inference mode.
        spec: how it was built.
        preprocessing: fitted on the training rows.
    """

    mixture: MixtureOfExperts
    spec: ModelSpec
    preprocessing: Preprocessing

    @property
    def classes(self) -> Classes:
        """The classes, in the order of the mixture's outputs."""
        return Classes(tuple(self.spec.classes))

    def inputs(self, records: Records) -> Tensor:
        """Rows as the mixture takes them, `[N, ...]`."""
        return torch.from_numpy(self.preprocessing.transform(records))

    def rows(self, records: Records) -> tuple[Tensor, Tensor]:
        """Rows and their classes, for `fit` and `evaluate`."""
        return self.inputs(records), torch.from_numpy(self.classes.encode(records.known_labels(), records.place))

    def save(self, folder: Path) -> None:
        """Write `weights.safetensors`, `model.json` and the preprocessing into `folder`."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.preprocessing.save(folder)
        except OSError as error:
            raise GatewiseError(f"cannot write into {folder}: {error.strerror or error}") from None
        write_json(folder / "model.json", self.spec.model_dump())
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
        path = folder / "weights.safetensors"
        try:
            weights = load_file(path)
        except FileNotFoundError:
            raise GatewiseError(f"{path} is missing") from None
        except (SafetensorError, OSError) as error:
            raise GatewiseError(f"{path} is not a safetensors file: {error}") from None
        mixture = spec.build()
        shapes = {name: value.shape for name, value in mixture.state_dict().items()}
        if shapes != {name: value.shape for name, value in weights.items()}:
            raise GatewiseError(f"{path} does not fit model.json beside it: names or shapes of weights differ")
        mixture.load_state_dict(weights)
        return cls(mixture.to(device).eval(), spec, load_preprocessing(folder))


def environment() -> dict[str, object]:
    """What a run ran on: `environment.json`."""
    packages = ("gatewise", "torch", "numpy", "polars", "scikit-learn", "safetensors", "skops")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": {name: _version(name) for name in packages},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
