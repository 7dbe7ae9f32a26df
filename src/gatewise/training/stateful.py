"""State of the parts of a training: `state_dict` and `load_state_dict`, as torch has them."""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor


class Stateful(Protocol):
    """A part of a training that the steps to come depend on.

    Its state is named as in the checkpoints: tensors go into one file, and what JSON can hold into another. What it
    loads is the state of the whole training, of which it takes its own names; it raises ValueError, KeyError or what
    torch raises for one of another training.
    """

    def state_dict(self) -> dict[str, Any]:
        """The state, by name; not copied."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take such a state."""
        ...


def prefixed(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values under `prefix.` and their names."""
    return {f"{prefix}.{name}": value for name, value in values.items()}


def part(prefix: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """The values whose names begin with `prefix.`, without it."""
    start = f"{prefix}."
    return {name[len(start) :]: value for name, value in state.items() if name.startswith(start)}


def forms(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Shape and type of each tensor."""
    return {name: (value.shape, value.dtype) for name, value in tensors.items()}
