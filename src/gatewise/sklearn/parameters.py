"""The constructor's parameters, named once, and the configuration of a run that they become in fitting."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from gatewise.config import RunConfig
from gatewise.config.run import BadKey, key_instead
from gatewise.data import MISSING
from gatewise.data.preprocessing.table import KEEP_ALL
from gatewise.errors import GatewiseError, check_choice, check_interval, check_kind
from gatewise.mixture.mixture import ROUTES

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
REGULARISER_FLAGS = re.compile(r"--regulariser \w+=[\d.]*\d(?: --regulariser \w+=[\d.]*\d)*")


@dataclass(eq=False, repr=False)
class Parameters(BaseEstimator):
    """The parameters that the estimators share, documented at `MixtureOfExpertsClassifier`.

    scikit-learn reads them off the constructor's signature, which a dataclass has from its fields.
    """

    n_experts: int = 4
    _: KW_ONLY
    expert: str = "mlp"
    expert_hidden: Sequence[int] = (128,)
    gate_hidden: Sequence[int] = ()
    trunk_hidden: Sequence[int] = ()
    dropout: float = 0.2
    objective: str = "jensen"
    objective_options: Mapping[str, Any] | None = None
    estimator: str | None = None
    estimator_options: Mapping[str, Any] | None = None
    samples: int | None = None
    temperature: float | str | None = None
    baseline: str | None = None
    regulariser: Mapping[str, float | str] | Sequence[str] | None = ("importance=0.3", "load=0.3")
    epochs: int | None = None
    batch_size: int | None = None
    lr: float = 1e-3
    gate_lr: float | None = None
    lr_schedule: str = "cosine"
    weight_decay: float = 1e-2
    clip: float = 1.0
    early_stopping: bool | str = "auto"
    validation_fraction: float = 0.125
    patience: int | None = None
    numeric: str = "standard"
    missing: Sequence[str] = MISSING
    route: str = "mixture"
    top_k: int = 2
    device: str = "auto"
    precision: str = "auto"
    settings: Mapping[str, Any] | None = None
    random_state: int | np.random.RandomState | None = None
    verbose: int = 0


def to_config(estimator: Parameters) -> RunConfig:
    """The configuration that an estimator's parameters stand for, with a seed drawn from `random_state`.

    Raises:
        GatewiseError: for the first parameter with a bad value.
    """
    parameters = estimator.get_params(deep=False)
    seed = int(check_random_state(estimator.random_state).randint(np.iinfo(np.int32).max))
    keys = {RENAMED.get(name, name): _plain(value) for name, value in parameters.items()}
    keys = {key: value for key, value in keys.items() if key in RunConfig.model_fields.keys() - NOT_SHARED}
    keys |= {key: {} for key in TABLES if keys[key] is None}
    keys |= {"keep": [KEEP_ALL]}  # who hands over a data frame has chosen its columns
    keys |= _further_keys(estimator.settings, parameters)
    if not isinstance(estimator.early_stopping, (bool, np.bool_)) and estimator.early_stopping != "auto":
        raise GatewiseError(f"early_stopping must be True, False or 'auto', got {estimator.early_stopping!r}")
    check_interval(estimator.validation_fraction, "(0, 1)", "validation_fraction")
    check_interval(estimator.verbose, "[0, inf)", "verbose", whole=True)
    check_interval(estimator.top_k, "[1, inf)", "top_k", whole=True)
    check_choice(estimator.route, ROUTES, "route")
    try:
        return RunConfig(data="X", seed=seed, **keys)
    except BadKey as bad:
        raise GatewiseError(f"{type(estimator).__name__}: {_parameter(bad.key)}: {bad.said}") from None


def _further_keys(settings: Mapping[str, Any] | None, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of the configuration in `settings`."""
    if settings is None:
        return {}
    check_kind(settings, Mapping, "settings", "a dictionary of keys of the configuration")
    for key in settings:
        if _parameter(key) in parameters:
            raise GatewiseError(f"settings: {key!r} is a parameter of its own: give {_parameter(key)}")
        if key in NOT_HERE:
            raise GatewiseError(f"settings: {key!r} is not for an estimator; leave it out")
        if key not in RunConfig.model_fields:
            raise GatewiseError(f"settings: unknown key {key!r}{key_instead(str(key), RunConfig.model_fields)}")
    return {key: _plain(value) for key, value in settings.items()}


def _parameter(key: str) -> str:
    """The parameter that stands for a key of the configuration."""
    return next((name for name, renamed in RENAMED.items() if renamed == key), key)


def _plain(value: Any) -> Any:
    """Without NumPy's scalars, as a grid over `np.arange` gives them, and tuples."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return [_plain(each) for each in value] if isinstance(value, (tuple, list)) else value


def for_python(message: str) -> str:
    """Advice that names the command line's flags, with the constructor's parameters in their place."""
    said = REGULARISER_FLAGS.sub(_as_parameter, message)
    said = re.sub(r"--set '?missing=(\[.*?\])'?", r"missing=\1", said)
    said = re.sub(r"--set '?(\w+)=([\d.]*\d|\[.*?\])'?", r'settings={"\1": \2}', said)
    said = re.sub(r"(?:--set|set) decimal ?= ?'?([.,])'?|\bdecimal = '([.,])'", _as_decimal, said)
    said = re.sub(r"--set '?(\w+)=([^\s'\[]+)'?", r'settings={"\1": "\2"}', said)
    return re.sub(r"--objective (\w+)", r'objective="\1"', said)


def _as_decimal(setting: re.Match[str]) -> str:
    return 'settings={"decimal": "' + (setting[1] or setting[2]) + '"}'


def _as_parameter(flags: re.Match[str]) -> str:
    pairs = re.findall(r"(\w+)=([\d.]*\d)", flags[0])
    return "regulariser={" + ", ".join(f'"{name}": {weight}' for name, weight in pairs) + "}"
