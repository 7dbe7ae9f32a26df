"""The rows of a gate's last linear layer, one an expert: add one, take one away, give one to another expert.

A gate whose logits are not those of its last linear layer offers three methods of its own, all in place:
`add_expert(donor)` appends expert K, which shares the donor's probability; `remove_expert(index)`; and
`share_expert(index, donor)`, after which expert `index` has half of the donor's probability and nothing of its own: it
returns the parameters whose rows `index` and `donor` it wrote, a list.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gatewise.errors import GatewiseError
from gatewise.mixture.gates.sparse import SPARSE_GATES

SPARSE = tuple(SPARSE_GATES.values())
BEHIND = (nn.Identity, *SPARSE)
"""What may stand behind the last linear layer."""


def last_layer(gate: nn.Module, num_experts: int) -> nn.Linear:
    """The linear layer whose K outputs are the gate's logits, or the scores of its sparse map.

    It is found in the tree of modules: the last one that computes, with nothing but a sparse map behind it and no
    parameters around it. What a `forward` does beside its modules cannot be seen: a gate that scales or masks there
    must offer its own methods, see above.

    Raises:
        GatewiseError: if the gate does not end so.
    """
    leaves = [module for module in gate.modules() if not any(True for _ in module.children())]
    around = [module for module in gate.modules() if any(True for _ in module.children())]
    while leaves and isinstance(leaves[-1], BEHIND):
        leaves.pop()
    last = leaves[-1] if leaves else None
    own = any(True for module in around for _ in [*module.parameters(recurse=False), *module.buffers(recurse=False)])
    if type(last) is not nn.Linear or last.out_features != num_experts or own:
        raise GatewiseError(
            f"this gate ({type(gate).__name__}) does not end in a plain torch.nn.Linear of {num_experts} outputs, so "
            "its experts cannot be changed from outside; end it so (Sparsemax or Entmax15 may follow), or give it the "
            "methods add_expert(donor), remove_expert(index) and share_expert(index, donor)"
        )
    return last


def is_sparse(gate: nn.Module) -> bool:
    """Whether the gate puts a sparse map on its scores."""
    return any(isinstance(module, SPARSE) for module in gate.modules())


def split_row(gate: nn.Module, num_experts: int, donor: int, lost: float | None = None) -> None:
    """Append row K, a copy of the donor's; both get half of its probability (see `share_row`)."""
    if (own := own_method(gate, "add_expert")) is not None:
        own(donor)
        return
    layer = last_layer(gate, num_experts)
    with torch.no_grad():
        bias = _bias(layer)
        lowered = bias.clone()
        lowered[donor] -= _half(gate) if lost is None else lost
        _set(layer, _with_copy(layer.weight, donor), _with_copy(lowered, donor))


def append_row(gate: nn.Module, num_experts: int, weight: Tensor, bias: Tensor) -> None:
    """Append a row of one's own to the last layer: weight `[H]` and bias `[]`."""
    layer = last_layer(gate, num_experts)
    with torch.no_grad():
        _set(layer, torch.cat([layer.weight, weight[None]]), torch.cat([_bias(layer), bias[None]]))


def remove_row(gate: nn.Module, num_experts: int, index: int) -> None:
    """Take a row away: the probabilities of the others are renormalised."""
    if (own := own_method(gate, "remove_expert")) is not None:
        own(index)
        return
    layer = last_layer(gate, num_experts)
    with torch.no_grad():
        bias = None if layer.bias is None else without(layer.bias, index)
        _set(layer, without(layer.weight, index), bias)


def share_row(gate: nn.Module, num_experts: int, index: int, donor: int, lost: float | None = None) -> list[Tensor]:
    """Write the donor's row over that of `index`, and let both lose log 2; in place.

    Behind a sparse map both keep the donor's scores as they are: where the donor had the probability 1 or 0 that
    changes nothing, and in between the two together gain some.

    Args:
        gate: the gate.
        num_experts: K.
        index: the expert that is written over.
        donor: the expert whose probability it shares.
        lost: what both lose of their score, where it is not log 2, such as before a temperature.

    Returns:
        The parameters, whose rows `index` and `donor` have changed.

    Raises:
        GatewiseError: for a last layer without a bias: log 2 cannot be taken off.
    """
    if (own := own_method(gate, "share_expert")) is not None:
        return list(own(index, donor))
    layer = last_layer(gate, num_experts)
    if layer.bias is None:
        raise GatewiseError("the gate's last layer has no bias, so an expert cannot share another's probability in it")
    with torch.no_grad():
        layer.weight[index] = layer.weight[donor]
        layer.bias[donor] -= _half(gate) if lost is None else lost
        layer.bias[index] = layer.bias[donor]
    return [layer.weight, layer.bias]


def own_method(module: nn.Module, name: str) -> Callable[..., Any] | None:
    """The method that a module brings along for changing itself, or None."""
    method = getattr(module, name, None)
    return method if callable(method) else None


def without(rows: Tensor, index: int) -> Tensor:
    """All rows but one, `[K - 1, ...]`."""
    return torch.cat([rows[:index], rows[index + 1 :]])


def _half(gate: nn.Module) -> float:
    """What donor and newcomer lose of their logit, so that each has half of the probability."""
    return 0.0 if is_sparse(gate) else math.log(2)


def _bias(layer: nn.Linear) -> Tensor:
    return layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias


def _with_copy(rows: Tensor, donor: int) -> Tensor:
    return torch.cat([rows, rows[donor : donor + 1]])


def _set(layer: nn.Linear, weight: Tensor, bias: Tensor | None) -> None:
    trained = layer.weight.requires_grad
    if bias is not None:
        bias_trained = trained if layer.bias is None else layer.bias.requires_grad
        layer.bias = nn.Parameter(bias.detach(), requires_grad=bias_trained)
    layer.weight = nn.Parameter(weight.detach(), requires_grad=trained)
    layer.out_features = len(weight)
