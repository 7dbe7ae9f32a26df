"""The registry of estimators."""

from collections.abc import Mapping
from typing import Any

from gatewise.estimators.base import GradientEstimator
from gatewise.registry import Registry

ESTIMATORS: Registry[GradientEstimator] = Registry("estimator")

register = ESTIMATORS.register
names = ESTIMATORS.names
options = ESTIMATORS.options
get = ESTIMATORS.get


def get_fitting(name: str, num_categories: int, context_dim: int | None = None, **chosen: Any) -> GradientEstimator:
    """`get`, with what an estimator is told of the problem filled in: K, and the context that it learns from.

    Args:
        name: of the estimator.
        num_categories: K, for one that is made for a number of categories.
        context_dim: features of the context that `expect` will be given; None if it is given none.
        chosen: its options; they win.

    Raises:
        GatewiseError: as `get`.

    >>> import gatewise as gw
    >>> gw.estimators.get_fitting("relax", num_categories=8).num_categories  # which `get` would ask for
    8
    """
    known = options(name)
    if "num_categories" in known:
        chosen.setdefault("num_categories", num_categories)
    if "context_dim" in known and ("baseline" not in known or chosen.get("baseline") == "learned"):
        chosen.setdefault("context_dim", context_dim)
    return get(name, **chosen)


def estimator_text(estimator: str, options: Mapping[str, Any]) -> str:
    """An estimator with its options as the command line takes it: NAME:KEY=VALUE:KEY=VALUE.

    >>> import gatewise as gw
    >>> gw.estimators.estimator_text("gumbel-softmax", {"temperature": 0.5})
    'gumbel-softmax:temperature=0.5'
    """
    said = (f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in options.items())
    return ":".join([estimator, *said])


def setting_text(estimator: str, options: Mapping[str, Any], num_samples: int) -> str:
    """An estimator with its options and its number of samples, for a sentence.

    >>> import gatewise as gw
    >>> gw.estimators.setting_text("score-function", {"baseline": "leave-one-out"}, 4)
    'score-function:baseline=leave-one-out with 4 samples'
    """
    said = estimator_text(estimator, options)
    return f"{said} with {num_samples} samples" if num_samples > 1 else said
