"""Weights of rows: how much each counts in the objective."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from gatewise.errors import GatewiseError, check_kind
from gatewise.wording import instead


def class_weights(
    chosen: str | Mapping[Any, float] | None, classes: Sequence[Any], y: Tensor, weight: Tensor | None = None
) -> Tensor | None:
    """Weights of the classes `[C]`, as the key `class_weight` says; None where it is unset.

    Args:
        chosen: "balanced": N / (C N_c), so that every class weighs the same in all; or weights by class, 1 for others.
        classes: their names, in the order of their numbers.
        y: classes of the training rows, int64 `[N]`.
        weight: of those rows `[N]`, where they have weights besides: N and N_c are then sums of weights.

    Raises:
        GatewiseError: for another word, a class that is not there, or a weight that is not a number above 0.
    """
    if chosen is None:
        return None
    if isinstance(chosen, Mapping):
        return _by_class(chosen, classes)
    if chosen != "balanced":
        raise GatewiseError(f"class_weight must be 'balanced', a weight by class, or unset, got {chosen!r}")
    return balanced(torch.bincount(y, weight, minlength=len(classes)).float())


def balanced(counts: Tensor) -> Tensor:
    """Weights `[C]` by which classes of so many rows `[C]` all weigh the same; 1 for one without a row."""
    return torch.where(counts > 0, counts.sum() / (len(counts) * counts), 1.0)


def _by_class(chosen: Mapping[Any, float], classes: Sequence[Any]) -> Tensor:
    for name, weight in chosen.items():
        if name not in classes:
            raise GatewiseError(f"class_weight has an unknown class {name!r}{instead(str(name), map(str, classes))}")
        if not isinstance(weight, Real) or not 0 < weight < float("inf"):
            raise GatewiseError(f"class_weight of {name!r} must be a number above 0, got {weight!r}")
    return torch.tensor([float(chosen.get(name, 1.0)) for name in classes])


def of_rows(weights: Tensor | None, y: Tensor) -> Tensor | None:
    """The weights of rows with classes y int64 `[N]`, where classes have weights `[C]`."""
    return None if weights is None else weights.to(y.device)[y]


def check_weight(weight: Tensor | None, rows: int, name: str) -> Tensor | None:
    """Weights of rows, scaled to mean 1 in float32.

    Args:
        weight: `[N]`, or None.
        rows: N.
        name: of the argument, for messages.

    Raises:
        GatewiseError: for another shape, a weight that is negative or not finite, or weights that are all 0.
    """
    if weight is None:
        return None
    check_kind(weight, Tensor, name, "make one with torch.as_tensor")
    if weight.shape != (rows,):
        raise GatewiseError(f"{name} must have shape [{rows}], one weight a row, got {list(weight.shape)}")
    wide = weight.cpu().double()
    if not bool((torch.isfinite(wide) & (wide >= 0)).all()):
        raise GatewiseError(f"{name} must hold finite numbers of at least 0")
    if not bool(wide.sum() > 0):
        raise GatewiseError(f"{name} is 0 for every row; at least one row must count")
    return (wide / wide.mean()).float()
