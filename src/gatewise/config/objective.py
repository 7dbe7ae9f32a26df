"""From a configuration to its objective, with its estimator."""

from collections.abc import Mapping
from typing import Any

from gatewise import objectives
from gatewise.config.checks import keeps_few
from gatewise.config.run import RunConfig
from gatewise.errors import GatewiseError
from gatewise.objectives import Objective
from gatewise.objectives.base import EstimatedObjective

NO_OPTIONS = {
    "estimator": "give the key estimator",
    "num_samples": "give the key samples",
    "inference": "a network of your own is given in Python",
    **dict.fromkeys(("num_experts", "context_dim", "num_classes"), "model and data tell it"),
}
"""Options of objectives that a configuration gives otherwise."""

HARMLESS = {"estimator": "enumeration", "samples": 1}
"""What an exact objective does anyway."""


def build_objective(config: RunConfig, features: int, num_classes: int = 2) -> Objective:
    """The objective, with its estimator where it takes one.

    Args:
        config: the configuration.
        features: that an expert sees of a row.
        num_classes: C.

    Raises:
        GatewiseError: for unknown names, options that are not taken, or what cannot work together.
    """
    known, chosen = objectives.options(config.objective), dict(config.objective_options)
    _check_options(config, known)
    if (name := estimator_name(config)) is not None:
        options = estimator_options(config)
        try:
            chosen["estimator"] = objectives.make_estimator(
                config.objective, name, config.num_experts, features, **options
            )
        except (TypeError, RuntimeError) as error:
            raise GatewiseError(f"estimator_options of {name}: a value of the wrong kind: {error}") from None
    elif config.temperature is not None:
        chosen["temperature"] = config.temperature
    if config.samples is not None and "num_samples" in known:
        chosen["num_samples"] = config.samples
    try:
        objective = objectives.get_fitting(config.objective, config.num_experts, features, num_classes, **chosen)
    except (TypeError, RuntimeError) as error:
        raise GatewiseError(f"objective_options of {config.objective}: a value of the wrong kind: {error}") from None
    objective.check_experts(config.num_experts)
    return objective


def _check_options(config: RunConfig, known: Mapping[str, Any]) -> None:
    """Refuse keys that the objective does not take, and options that have a key of their own."""
    for option, said in NO_OPTIONS.items():
        if option in config.objective_options:
            raise GatewiseError(f"objective_options: {option} is not given there; {said}")
    taking = takes_estimator(config)
    taken = {"estimator", "temperature", "baseline", "estimator_options"} if taking else {"temperature"} & known.keys()
    if "num_samples" in known and (taking or "estimator" not in known):
        taken = {*taken, "samples"}
    for key in ("estimator", "temperature", "baseline", "estimator_options", "samples"):
        if key not in taken and getattr(config, key) not in (None, {}, HARMLESS.get(key)):
            refusal = objectives.named(config.objective).refusal.format(key)
            raise GatewiseError(f"the {config.objective} objective {refusal}")


def takes_estimator(config: RunConfig) -> bool:
    """Whether the objective of a configuration takes an estimator.

    Raises:
        GatewiseError: for an unknown objective.
    """
    return objectives.named(config.objective).takes_estimator(**config.objective_options)


def estimator_name(config: RunConfig) -> str | None:
    """The estimator chosen, or the objective's default; None where it takes none.

    Raises:
        GatewiseError: for an unknown objective.
    """
    objective = objectives.named(config.objective)
    if not takes_estimator(config):
        return None
    if config.estimator is None and issubclass(objective, EstimatedObjective):
        return objective.default_estimator(samples_of(config) or 1)
    return config.estimator or "enumeration"


def samples_of(config: RunConfig) -> int | None:
    """Draws an example: those chosen, or the objective's default; None where it draws none.

    Raises:
        GatewiseError: for an unknown objective.
    """
    default = objectives.options(config.objective).get("num_samples")
    return default if config.samples is None else config.samples


def estimator_options(config: RunConfig) -> dict[str, Any]:
    """The options of a configuration's estimator, with its defaults: the temperature's schedule; the support alone.

    Enumeration runs no expert that the gate gave a probability of 0.
    """
    options = dict(config.estimator_options)
    for key in ("temperature", "baseline"):
        if (value := getattr(config, key)) is not None:
            options[key] = value
    if "temperature" in objectives.estimator_options(estimator_name(config) or ""):
        options.setdefault("temperature", "exponential:1:0.3")
    if estimator_name(config) == "enumeration" and keeps_few(config):
        options.setdefault("support_only", True)
    return options
