"""The registry of objectives, and of the estimators that each takes."""

from typing import Any

from gatewise.errors import GatewiseError
from gatewise.estimators import GradientEstimator
from gatewise.estimators import get_fitting as get_fitting_estimator
from gatewise.estimators import options as options_of_estimator
from gatewise.objectives.base import Objective
from gatewise.registry import Registry

OBJECTIVES: Registry[Objective] = Registry("objective")

register = OBJECTIVES.register
names = OBJECTIVES.names
options = OBJECTIVES.options
get = OBJECTIVES.get
named = OBJECTIVES.named


def get_fitting(name: str, num_experts: int, context_dim: int, num_classes: int, **chosen: Any) -> Objective:
    """`get`, with what an objective is told of the problem filled in: K, the features of a row, and the classes.

    Raises:
        GatewiseError: as `get`.

    >>> import gatewise as gw
    >>> objective = gw.objectives.get_fitting("evidence", 8, context_dim=4, num_classes=2, posterior="amortised")
    >>> objective.inference.num_classes
    2
    """
    told = {"num_experts": num_experts, "context_dim": context_dim, "num_classes": num_classes}
    return get(name, **{option: value for option, value in told.items() if option in options(name)} | chosen)


def owners(estimator: str) -> list[str]:
    """The objectives that an estimator serves alone; none for those of `gatewise.estimators`.

    >>> import gatewise as gw
    >>> gw.objectives.owners("vimco"), gw.objectives.owners("score-function")
    (['multi-sample'], [])
    """
    return [name for name in names() if estimator in named(name).own_estimators.names()]


def estimator_options(estimator: str) -> dict[str, Any]:
    """The options of an estimator, be it an objective's own; see `gatewise.estimators.options`.

    Raises:
        GatewiseError: for an unknown name.

    >>> import gatewise as gw
    >>> gw.objectives.estimator_options("vimco"), gw.objectives.estimator_options("gumbel-softmax")
    ({'mean': 'geometric'}, {'temperature': 1.0})
    """
    own = owners(estimator)
    return named(own[0]).own_estimators.options(estimator) if own else options_of_estimator(estimator)


def make_estimator(
    objective: str, estimator: str, num_categories: int, context_dim: int | None = None, /, **chosen: Any
) -> GradientEstimator:
    """An estimator for an objective, told of the problem as `gatewise.estimators.get_fitting` tells it.

    Raises:
        GatewiseError: for an unknown name, one that serves another objective alone, or options that are not taken.

    >>> import gatewise as gw
    >>> gw.objectives.make_estimator("multi-sample", "vimco", 8, mean="arithmetic").mean
    'arithmetic'
    """
    own = owners(estimator)
    if not own:
        return get_fitting_estimator(estimator, num_categories, **{"context_dim": context_dim, **chosen})
    if objective not in own:
        raise GatewiseError(
            f"estimator {estimator!r} serves the objective {' or '.join(own)} alone; for {objective} use score-function"
        )
    return named(objective).own_estimators.get(estimator, **chosen)
