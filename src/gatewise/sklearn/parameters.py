"""Constructor parameters as the configuration of a run, checked when an estimator is fitted."""

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np
from pydantic import ValidationError
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from gatewise.config import RunConfig
from gatewise.config.loading import first_problem, key_instead
from gatewise.data.preprocessing.table import KEEP_ALL
from gatewise.errors import GatewiseError
from gatewise.mixture.mixture import ROUTES
from gatewise.wording import instead

RENAMED = {"n_experts": "experts"}
"""Parameters that scikit-learn's users would look for under another name than the configuration's."""
TABLES = ("objective_options", "estimator_options", "regulariser")
"""Parameters for which None is an empty table, as a default must not be a dictionary."""
NOT_HERE = (
    *("data", "target", "test", "test_size", "validation_size", "separator", "header", "missing_target"),
    "rare_classes",
    *("image_size", "image_mode", "seed", "threads", "audit_every", "start_from"),
    *("head", "stream", "stream_rows", "tensorboard", "expert_parallel", "checkpoint_seconds"),
)
"""Keys of a run that an estimator has no use for, or has in another form."""
NOT_SHARED = {"class_weight"}
"""Parameters that are a key too, with other values: here classes need not be text."""


def to_config(estimator: BaseEstimator) -> RunConfig:
    """The configuration that an estimator's parameters stand for, with a seed drawn from `random_state`.

    Raises:
        GatewiseError: for the first parameter with a bad value.
    """
    parameters = estimator.get_params(deep=False)
    seed = int(check_random_state(parameters["random_state"]).randint(np.iinfo(np.int32).max))
    keys = {RENAMED.get(name, name): _plain(value) for name, value in parameters.items()}
    keys = {key: value for key, value in keys.items() if key in RunConfig.model_fields.keys() - NOT_SHARED}
    keys |= {key: {} for key in TABLES if keys[key] is None}
    keys |= {"keep": [KEEP_ALL]}  # who hands over a data frame has chosen its columns
    keys |= _further(parameters)
    _check_others(parameters)
    try:
        return RunConfig(data="X", seed=seed, **keys)
    except ValidationError as error:
        key, said = first_problem(error)
        names = {renamed: name for name, renamed in RENAMED.items()}
        raise GatewiseError(f"{type(estimator).__name__}: {names.get(key, key)}: {said}") from None


def _further(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The keys in `settings`."""
    settings = {} if parameters["settings"] is None else parameters["settings"]
    if not isinstance(settings, Mapping):
        raise GatewiseError(f"settings must be a dictionary of keys of the configuration, got {settings!r}")
    names = {renamed: name for name, renamed in RENAMED.items()}
    for key in settings:
        if names.get(key, key) in parameters:
            raise GatewiseError(f"settings: {key!r} is a parameter of its own: give {names.get(key, key)}")
        if key in NOT_HERE:
            raise GatewiseError(f"settings: {key!r} is not for an estimator; leave it out")
        if key not in RunConfig.model_fields:
            raise GatewiseError(f"settings: unknown key {key!r}{key_instead(str(key))}")
    return {key: _plain(value) for key, value in settings.items()}


def _plain(value: Any) -> Any:
    """Without NumPy's scalars, as a grid over `np.arange` gives them, and tuples."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [_plain(each) for each in value] if isinstance(value, (tuple, list)) else value


def _check_others(parameters: Mapping[str, Any]) -> None:
    """Refuse bad values of the parameters that are no keys."""
    early_stopping = parameters["early_stopping"]
    if not isinstance(early_stopping, (bool, np.bool_)) and early_stopping != "auto":
        raise GatewiseError(f"early_stopping must be True, False or 'auto', got {early_stopping!r}")
    fraction = parameters["validation_fraction"]
    if not isinstance(fraction, (int, float, np.floating)) or not 0 < fraction < 1:
        raise GatewiseError(f"validation_fraction must be above 0 and below 1, got {fraction!r}")
    for name, least in (("verbose", 0), ("top_k", 1)):
        if not isinstance(parameters[name], Integral) or parameters[name] < least:
            raise GatewiseError(f"{name} must be a whole number from {least}, got {parameters[name]!r}")
    if parameters["route"] not in ROUTES:
        raise GatewiseError(f"unknown route {parameters['route']!r}{instead(str(parameters['route']), ROUTES)}")
