"""Experts spread over processes, and put together again."""

from typing import overload

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from gatewise.distributed.group import lost_process_errors
from gatewise.distributed.sharded_bank import ShardedBank
from gatewise.errors import GatewiseError
from gatewise.mixture import Experts, MixtureOfExperts, MLPBank


@overload
def shard_experts(whole: MixtureOfExperts, mesh: DeviceMesh) -> MixtureOfExperts: ...
@overload
def shard_experts(whole: MLPBank, mesh: DeviceMesh) -> ShardedBank: ...
def shard_experts(whole: MixtureOfExperts | MLPBank, mesh: DeviceMesh) -> MixtureOfExperts | ShardedBank:
    """Spread the experts of a bank over the processes along the mesh's axis `experts`.

    The weights are those of the first process. All processes call this together, before they make an optimiser. The
    gradients of all other parameters are each process's own, to be summed over all processes; those of the experts only
    over the axis `data`. `gatewise.training.fit` does both.

    Args:
        whole: a mixture, whose experts are changed in place; or a bank, such as that of a `gw.nn.MoELayer`.
        mesh: made by `expert_mesh`.

    Returns:
        The mixture, or the sharded bank.

    Raises:
        GatewiseError: for experts that are no `MLPBank`, or a mesh of other axes.
    """
    if isinstance(whole, MixtureOfExperts):
        whole.experts = ShardedBank(_bank(whole.experts), mesh)
        return whole
    return ShardedBank(_bank(whole), mesh)


def _bank(experts: Experts) -> MLPBank:
    if not isinstance(experts, MLPBank):
        raise GatewiseError(
            f"experts of the kind {type(experts).__name__} cannot be spread over processes; those of an MLPBank can "
            "(in a configuration expert = 'mlp' or 'linear')"
        )
    return experts


@overload
def gather_experts(spread: MixtureOfExperts, *, everywhere: bool = True) -> MixtureOfExperts: ...
@overload
def gather_experts(spread: ShardedBank, *, everywhere: bool = True) -> MLPBank: ...
def gather_experts(
    spread: MixtureOfExperts | ShardedBank, *, everywhere: bool = True
) -> MixtureOfExperts | ShardedBank | MLPBank:
    """What `shard_experts` made, as one process has it: with a plain `MLPBank`.

    All processes call this together. The parameters travel one after another, each to all processes.

    Args:
        spread: a mixture, whose experts are changed in place, or a sharded bank.
        everywhere: whether all processes keep the whole bank; else the first one does, and the others keep what they
            have and no more.

    Raises:
        GatewiseError: for experts that are not spread.
    """
    experts = spread.experts if isinstance(spread, MixtureOfExperts) else spread
    if not isinstance(experts, ShardedBank):
        raise GatewiseError(f"experts of the kind {type(experts).__name__} are not spread over processes")
    bank = _gathered(experts, keeps=everywhere or experts.mesh.get_rank() == 0)
    if not isinstance(spread, MixtureOfExperts):
        return spread if bank is None else bank
    if bank is not None:
        spread.experts = bank
    return spread


@torch.no_grad()
def _gathered(experts: ShardedBank, keeps: bool) -> MLPBank | None:
    """The whole bank, on those that keep it."""
    first, *hidden, last = [experts.weights[0].shape[1], *(bias.shape[1] for bias in experts.biases)]
    with torch.device("meta"):  # its weights are not drawn
        bank = MLPBank(experts.num_experts, first, hidden, last, experts.dropout, strategy=experts.strategy)
    for parts, layers in ((experts.weights, bank.weights), (experts.biases, bank.biases)):
        for layer, part in enumerate(parts):
            assert isinstance(part, DTensor)
            with lost_process_errors():
                whole = part.full_tensor()
            if keeps:
                layers[layer] = nn.Parameter(whole, requires_grad=part.requires_grad)
    return bank.train(experts.training) if keeps else None
