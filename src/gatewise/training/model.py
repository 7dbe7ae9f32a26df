"""From a configuration to modules: the mixtures that the command line builds, and their objective."""

import math
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from gatewise import estimators, objectives
from gatewise.errors import GatewiseError
from gatewise.mixture import ConvExpert, MixtureOfExperts, MLPBank, mlp
from gatewise.objectives import Objective
from gatewise.training.config import RunConfig
from gatewise.wording import instead


class ModelSpec(BaseModel):
    """All that is needed to build a mixture anew before its weights are loaded: `model.json` in a run folder."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    input_shape: list[int]
    classes: list[str]
    experts: int
    expert: Literal["mlp", "linear", "conv"]
    expert_hidden: list[int]
    gate_hidden: list[int]
    trunk_hidden: list[int]
    dropout: float

    @classmethod
    def from_config(cls, config: RunConfig, input_shape: tuple[int, ...], classes: tuple[str, ...]) -> "ModelSpec":
        """The part of a configuration that shapes the model."""
        shared = {name: getattr(config, name) for name in cls.model_fields if name in RunConfig.model_fields}
        return cls(input_shape=list(input_shape), classes=list(classes), **shared)

    @property
    def features(self) -> int:
        """Numbers that an expert sees of a row."""
        return self.trunk_hidden[-1] if self.trunk_hidden else math.prod(self.input_shape)

    def build(self) -> MixtureOfExperts:
        """The mixture, freshly initialised.

        Raises:
            GatewiseError: for a convolutional expert on rows that are not images, or behind a trunk.
        """
        trunk = None
        if self.trunk_hidden:
            if self.expert == "conv":
                raise GatewiseError("expert = 'conv' needs the image itself; leave trunk_hidden empty")
            *hidden, last = self.trunk_hidden
            layers = mlp(math.prod(self.input_shape), hidden, last, self.dropout)
            trunk = nn.Sequential(*layers, nn.ReLU(), nn.Dropout(self.dropout))
        gate = mlp(self.features, self.gate_hidden, self.experts)
        return MixtureOfExperts(gate, self._experts(), trunk=trunk)

    def _experts(self) -> MLPBank | list[ConvExpert]:
        outputs = len(self.classes)
        if self.expert == "conv":
            return [ConvExpert(tuple(self.input_shape), outputs, dropout=self.dropout) for _ in range(self.experts)]
        hidden = [] if self.expert == "linear" else self.expert_hidden
        return MLPBank(self.experts, self.features, hidden, outputs, self.dropout)


def build_objective(config: RunConfig, features: int) -> Objective:
    """The objective, with its estimator where it takes one.

    Raises:
        GatewiseError: for unknown names, or options given in the configuration that are not taken.
    """
    if "estimator" not in objectives.options(config.objective):
        chosen = [key for key in ("temperature", "baseline", "estimator_options") if getattr(config, key)]
        if "estimator" in config.model_fields_set and config.estimator != "enumeration":
            chosen.insert(0, "estimator")
        if chosen:
            raise GatewiseError(
                f"the {config.objective} objective is exact and takes no {chosen[0]}; leave it out, "
                "or choose an objective that takes one, such as jensen"
            )
        return objectives.get(config.objective)
    taken = estimators.options(config.estimator)
    options = dict(config.estimator_options)
    for key in ("temperature", "baseline"):
        if (value := getattr(config, key)) is not None:
            options[key] = value
    if "temperature" in taken:
        options.setdefault("temperature", "exponential:1:0.3")
    if options.get("baseline") == "learned" and "context_dim" in taken:
        options.setdefault("context_dim", features)
    estimator = estimators.get(config.estimator, **options)
    return objectives.get(config.objective, estimator=estimator, num_samples=config.samples)


def choose_device(name: str) -> torch.device:
    """The device called `name`; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        GatewiseError: for a device that is unknown or not there.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device("cuda" if there["cuda"] else "mps" if there["mps"] else "cpu")
    kind, _, number = name.partition(":")
    if kind not in there or (number and not number.isdigit()):
        raise GatewiseError(f"unknown device {name!r}{instead(name, ['auto', *there])}")
    if not there[kind] or (kind == "cuda" and number and int(number) >= torch.cuda.device_count()):
        raise GatewiseError(f"device {name!r} is not there on this machine; use --device auto")
    return torch.device(name)
