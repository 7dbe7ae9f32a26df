"""A fitted estimator as a folder: the model as a run folder has it, the rest as one JSON file; no pickle."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError
from sklearn.base import BaseEstimator

from gatewise.errors import GatewiseError
from gatewise.files import read_json, write_json
from gatewise.models.model import Model

NAME = "estimator.json"
E = TypeVar("E", bound=BaseEstimator)


class EstimatorFile(BaseModel):
    """What `estimator.json` holds.

    Attributes:
        estimator: the name of the class.
        parameters: of the constructor; tuples and dictionaries, whose keys may be no text, as `_packed` writes them.
        fitted: attributes that are numbers, or lists of JSON.
        classes: the type of the labels and the labels, for a classifier.
        feature_names: of the columns, where they had names.
    """

    estimator: str
    parameters: dict[str, Any]
    fitted: dict[str, Any]
    classes: tuple[Literal["bool", "int64", "uint64", "float64", "str", "object"], list[Any]] | None = None
    feature_names: list[str] | None = None


FITTED = ("n_features_in_", "n_iter_", "best_iter_", "history_", "y_location_", "y_scale_")
TYPES = {"b": "bool", "i": "int64", "u": "uint64", "f": "float64", "U": "str", "O": "object"}
"""Of labels, by the kind of a NumPy type."""


def save(estimator: Any, folder: Path) -> None:
    """Write a fitted estimator into a new folder.

    Raises:
        GatewiseError: if there is something already, or it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise GatewiseError(f"{folder} is there already; give another folder")
    model: Model = estimator.model_
    Model(model.mixture, model.spec, model.preprocessing).save(folder / "model")
    labels = getattr(estimator, "classes_", None)
    names = getattr(estimator, "feature_names_in_", None)
    kept = EstimatorFile(
        estimator=type(estimator).__name__,
        parameters={name: _packed(value) for name, value in estimator.get_params(deep=False).items()},
        fitted={name: getattr(estimator, name) for name in FITTED if hasattr(estimator, name)},
        classes=None if labels is None else (TYPES[labels.dtype.kind], labels.tolist()),
        feature_names=None if names is None else [str(name) for name in names],
    )
    write_json(folder / NAME, kept.model_dump())


def load(kind: type[E], folder: Path) -> E:
    """The estimator that `save` wrote.

    Raises:
        GatewiseError: for a folder that holds none, another kind of estimator, or what does not fit the model.
    """
    path = folder / NAME
    if not path.exists():
        raise GatewiseError(f"{folder} holds no estimator: {NAME} is missing; give a folder that save wrote")
    try:
        kept = EstimatorFile.model_validate(read_json(path))
        if kept.estimator != kind.__name__:
            raise GatewiseError(f"{folder} holds a {kept.estimator}; load it by {kept.estimator}.load")
        unpacked = {name: _unpacked(value) for name, value in kept.parameters.items()}
        estimator: Any = kind(**unpacked)
        labels = None if kept.classes is None else np.array(kept.classes[1], dtype=kept.classes[0])
    except (ValidationError, TypeError, ValueError, OverflowError, KeyError) as error:
        if isinstance(error, GatewiseError):
            raise
        raise GatewiseError(f"{path} is damaged ({str(error).splitlines()[0]}); save the estimator again") from None
    model = Model.load(folder / "model")
    if labels is not None and [str(label) for label in labels] != model.spec.classes:
        raise GatewiseError(f"{path} does not fit model/model.json: the classes are others; save the estimator again")
    for name in FITTED:
        if name in kept.fitted:
            setattr(estimator, name, kept.fitted[name])
    if labels is not None:
        estimator.classes_ = labels
    if kept.feature_names is not None:
        estimator.feature_names_in_ = np.array(kept.feature_names, dtype=object)
    estimator.model_, estimator._train_step = model, None
    return estimator


def _packed(value: Any) -> Any:
    """A parameter as JSON holds it; a random state, which goes on from draw to draw, is not kept."""
    if isinstance(value, Mapping):
        return {"table": [[_packed(key), _packed(item)] for key, item in value.items()]}
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, tuple | list):
        packed = [_packed(each) for each in value]
        return {"tuple": packed} if isinstance(value, tuple) else packed
    return value if isinstance(value, str | int | float | bool | None) else None


def _unpacked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpacked(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "tuple" in value:
        return tuple(_unpacked(each) for each in value["tuple"])
    return {_unpacked(key): _unpacked(item) for key, item in value["table"]}
