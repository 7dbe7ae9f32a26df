"""Another expert for a trained mixture, one fewer, or a new start for a dead one.

    bigger = gw.mixture.add_expert(mixture, donor=2, noise=0.05)
    smaller = gw.mixture.remove_expert(bigger, 0)

Splitting an expert leaves p(y|x) as it is: the copy and its donor share the donor's probability. (The net2net idea of
Chen, Goodfellow and Shlens 2016, 1511.05641, for experts; the split of SMEM, Ueda et al. 2000, for mixtures.)
"""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gatewise.errors import GatewiseError
from gatewise.mixture.experts import ExpertList, Experts
from gatewise.mixture.gates.last_layer import (
    append_row,
    is_sparse,
    last_layer,
    own_method,
    remove_row,
    share_row,
    split_row,
    without,
)
from gatewise.mixture.mixture import MixtureOfExperts
from gatewise.mixture.mlp import MLPBank

Slice = tuple[Tensor, int | None]
"""A parameter and the index of its first dimension that belongs to one expert; None for all of it."""


def add_expert(
    mixture: MixtureOfExperts,
    donor: int | None = None,
    *,
    noise: float = 0.0,
    generator: torch.Generator | None = None,
    expert: nn.Module | None = None,
    prior: float = 0.05,
    x: Tensor | None = None,
    gate_x: Tensor | None = None,
) -> MixtureOfExperts:
    """A copy of the mixture with one expert more, number K; the mixture given is left as it is.

    Either `donor` is split: the newcomer is its copy, and the gate's logits of both are the donor's less log 2, so that
    log p(y|x) is what it was, up to the noise. (Behind a sparse map, see `gate_rows.share_row`.) Or `expert` is a
    module of one's own, with small probability at first. A linear layer cannot give it the same probability on every
    row; its row of the gate is fitted to the rows `x` by least squares, so that the mean probability on them is `prior`
    exactly, and each row's near it.

    Experts of a kind of their own bring `add_expert(donor)` and `remove_expert(index)`, both in place, and get no
    noise. Frozen parameters stay frozen; dtype and device are kept. An optimiser, and parts of an objective or
    estimator that were made for K experts, must be made anew.

    Args:
        mixture: with a gate that ends in a linear layer, or brings methods of its own (see `gate_rows`).
        donor: the expert to split, from 0 to K - 1.
        noise: standard deviation of what is added to each of the copy's trainable parameters, in units of that
            parameter's root mean square; 0 makes twins, which only dropout or samples would ever tell apart.
        generator: of the noise.
        expert: a module `[B, ...] -> [B, O]`, for a mixture over a list of modules; taken as it is, not copied.
        prior: of `expert`, in (0, 1).
        x: rows `[N, ...]`, for `expert`.
        gate_x: the gate's own input, where it has one.

    Raises:
        GatewiseError: for both or neither of `donor` and `expert`, a donor that is not there, a gate or experts that
            cannot be changed, a prior outside (0, 1).

    >>> import torch
    >>> import gatewise as gw
    >>> mixture = gw.MixtureOfExperts(torch.nn.Linear(4, 3), gw.MLPBank(3, 4, (), 2))  # 3 experts, 2 classes
    >>> larger, x = gw.mixture.add_expert(mixture, donor=0), torch.randn(5, 4)
    >>> larger.num_experts, torch.allclose(larger.predict_proba(x), mixture.predict_proba(x), atol=1e-5)
    (4, True)
    """
    if (donor is None) == (expert is None):
        raise GatewiseError("give either donor, the number of an expert to split, or expert, a module of your own")
    grown = copy.deepcopy(mixture)
    if expert is not None:
        _append(grown, expert, prior, x, gate_x)
        return grown
    assert donor is not None
    _check(grown, donor)
    split_row(grown.gate, grown.num_experts, donor)
    _append_copy(grown.experts, donor)
    _perturb(_slices(grown.experts, grown.num_experts - 1), noise, generator)
    return grown


def remove_expert(mixture: MixtureOfExperts, index: int) -> MixtureOfExperts:
    """A copy of the mixture without one expert: p(z|x) is renormalised over the others, whose order stays.

    It equals masking the expert's logit with -inf. The mixture given is left as it is.

    Raises:
        GatewiseError: for an expert that is not there, the last one, or a gate or experts that cannot be changed.

    >>> import torch
    >>> import gatewise as gw
    >>> mixture = gw.MixtureOfExperts(torch.nn.Linear(4, 3), gw.MLPBank(3, 4, (), 2))  # 3 experts, 2 classes
    >>> gw.mixture.remove_expert(mixture, 1).num_experts
    2
    """
    _check(mixture, index)
    if mixture.num_experts == 1:
        raise GatewiseError("a mixture needs at least 1 expert; the last one cannot be removed")
    shrunk = copy.deepcopy(mixture)
    remove_row(shrunk.gate, shrunk.num_experts, index)
    experts = shrunk.experts
    if isinstance(experts, MLPBank):
        for layers in (experts.weights, experts.biases):
            for layer, rows in enumerate(layers):
                layers[layer] = nn.Parameter(without(rows.detach(), index), requires_grad=rows.requires_grad)
        experts.num_experts -= 1
    elif isinstance(experts, ExpertList):
        del experts.members[index]
        experts.num_experts -= 1
    else:
        _own(experts, "remove_expert")(index)
    return shrunk


def can_reseed(mixture: MixtureOfExperts, index: int, donor: int) -> bool:
    """Whether expert `index` can become a copy of `donor`: it is trainable, of the same kind, and shares no weights."""
    experts = mixture.experts
    if isinstance(experts, MLPBank):
        return index != donor and any(p.requires_grad for p in experts.parameters())
    if not isinstance(experts, ExpertList) or index == donor:
        return False
    old, new = experts.members[index].state_dict(), experts.members[donor].state_dict()
    shapes = [{name: value.shape for name, value in state.items()} for state in (old, new)]
    own = {id(p) for p in experts.members[index].parameters()}
    others = {id(p) for k, member in enumerate(experts.members) if k != index for p in member.parameters()}
    trained = any(p.requires_grad for p in experts.members[index].parameters())
    alike = type(experts.members[index]) is type(experts.members[donor]) and shapes[0] == shapes[1]
    return trained and alike and not own & others


@torch.no_grad()
def reseed_expert(
    mixture: MixtureOfExperts,
    index: int,
    donor: int,
    *,
    noise: float = 0.0,
    generator: torch.Generator | None = None,
) -> list[Slice]:
    """Make expert `index` a noisy copy of `donor` that shares its probability; in place, for use in training.

    What `index` did is lost, and its probability goes to all others; those two together keep what the donor had.

    Returns:
        What was written over, for whoever holds an optimiser: parameters, and which index of their first dimension.

    Raises:
        GatewiseError: for experts that are not there or cannot be copied, or a gate that cannot be changed.
    """
    _check(mixture, index)
    _check(mixture, donor)
    if not can_reseed(mixture, index, donor):
        raise GatewiseError(
            f"expert {index} cannot become a copy of expert {donor}: it is frozen, of another kind, or shares weights"
        )
    rows = share_row(mixture.gate, mixture.num_experts, index, donor)
    experts = mixture.experts
    written = _slices(experts, index)
    if isinstance(experts, MLPBank):
        for parameter in experts.parameters():
            parameter[index] = parameter[donor]
    elif isinstance(experts, ExpertList):
        experts.members[index].load_state_dict(experts.members[donor].state_dict())
    _perturb(written, noise, generator)
    return [*written, *((row, k) for row in rows for k in (index, donor))]


def _check(mixture: MixtureOfExperts, index: int) -> None:
    if not 0 <= index < mixture.num_experts:
        raise GatewiseError(f"there is no expert {index}; this mixture has 0 to {mixture.num_experts - 1}")


def _own(experts: Experts, name: str) -> Callable[..., Any]:
    """The method that a set of experts of another kind brings along."""
    if (own := own_method(experts, name)) is None:
        raise GatewiseError(
            f"experts of the kind {type(experts).__name__} cannot be changed; give it the methods add_expert(donor), "
            "which appends a copy, and remove_expert(index)"
        )
    return own


def _append_copy(experts: Experts, donor: int) -> None:
    if isinstance(experts, MLPBank):
        for layers in (experts.weights, experts.biases):
            for layer, rows in enumerate(layers):
                grown = torch.cat([rows.detach(), rows.detach()[donor : donor + 1]])
                layers[layer] = nn.Parameter(grown, requires_grad=rows.requires_grad)
        experts.num_experts += 1
    elif isinstance(experts, ExpertList):
        _append_member(experts, copy.deepcopy(experts.members[donor]))
    else:
        _own(experts, "add_expert")(donor)


def _append_member(experts: ExpertList, member: nn.Module) -> None:
    experts.members.append(member)
    experts.num_experts += 1
    experts.train(experts.training)  # frozen experts go back to rest


def _append(
    mixture: MixtureOfExperts, expert: nn.Module, prior: float, x: Tensor | None, gate_x: Tensor | None
) -> None:
    """Append a module of the user's own, with mean probability `prior` on the rows x."""
    if not isinstance(mixture.experts, ExpertList) or not isinstance(expert, nn.Module):
        raise GatewiseError("expert must be a torch.nn.Module, and the mixture one over a list of modules; else split")
    if not 0 < prior < 1:
        raise GatewiseError(f"prior must be between 0 and 1, got {prior}")
    if x is None or not len(x):
        raise GatewiseError("an expert of your own needs x, rows on which its mean probability is to be prior")
    if is_sparse(mixture.gate):
        raise GatewiseError("behind a sparse map no small probability can be given to an expert; split a donor instead")
    layer = last_layer(mixture.gate, mixture.num_experts)
    seen: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].detach()))
    was_training = mixture.training
    try:
        with torch.no_grad():
            logits = mixture.eval().read(x, gate_x)[1].cpu().double()
    finally:
        hook.remove()
        mixture.train(was_training)
    weight, bias = _row_of_mean_probability(seen[-1].cpu().double(), logits.logsumexp(-1), prior)
    append_row(mixture.gate, mixture.num_experts, weight.to(layer.weight), bias.to(layer.weight))
    _append_member(mixture.experts, expert.to(layer.weight))


def _row_of_mean_probability(inputs: Tensor, total: Tensor, prior: float) -> tuple[Tensor, Tensor]:
    """Weight `[H]` and bias `[]` of a logit near log(p/(1-p)) + total `[N]`, with mean probability p; in float64.

    On the CPU, whose least squares take rows that do not determine the weights.
    """
    centred = inputs - inputs.mean(0)
    weight = torch.linalg.lstsq(centred, (total - total.mean())[:, None], driver="gelsd").solution[:, 0]
    odds = inputs @ weight - total
    low, high = -odds.max() + math.log(prior / (1 - prior)), -odds.min() + math.log(prior / (1 - prior))
    for _ in range(60):  # bisection: the mean probability rises with the bias
        middle = (low + high) / 2
        too_much = (odds + middle).sigmoid().mean() > prior
        low, high = (low, middle) if too_much else (middle, high)
    return weight, (low + high) / 2


def _slices(experts: Experts, index: int) -> list[Slice]:
    """The parameters of one expert."""
    if isinstance(experts, MLPBank):
        return [(parameter, index) for parameter in experts.parameters()]
    if isinstance(experts, ExpertList):
        return [(parameter, None) for parameter in experts.members[index].parameters()]
    return []


@torch.no_grad()
def _perturb(slices: list[Slice], noise: float, generator: torch.Generator | None) -> None:
    if not noise:
        return
    for parameter, index in slices:
        if parameter.requires_grad:
            part = parameter if index is None else parameter[index]
            device = part.device if generator is None else generator.device
            drawn = torch.randn(part.shape, generator=generator, device=device).to(part)
            part += noise * part.square().mean().sqrt() * drawn
