"""A mixture whose experts are mixtures, seen as one flat mixture of its leaves.

tree = gw.MixtureOfExperts(gate, [gw.MixtureOfExperts(...), gw.MixtureOfExperts(...), nn.Linear(64, 10)])
flat = gw.mixture.by_leaf(tree)      # shares all parameters with it
flat.posterior(x, y)                 # p(leaf|x,y); the evaluation, the audit and every route speak of leaves too
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from gatewise.errors import GatewiseError
from gatewise.mixture.experts import ExpertList, Experts
from gatewise.mixture.heads import Categorical
from gatewise.mixture.masks import blind, without_gradient
from gatewise.mixture.mixture import MixtureOfExperts
from gatewise.precision import widened

Path = tuple[int, ...]
"""The experts to take from the root on: (1, 0) is the first expert of the second."""


def by_leaf(mixture: MixtureOfExperts) -> MixtureOfExperts:
    """The same p(y|x) as a mixture of the leaves: p(leaf|x) is the product of the gates' probabilities on its path.

    It holds the same modules, so training one trains the other. An inner mixture takes part as the module that it is,
    `[B, ...]` to log p(y|x) of every class, so all heads must be `Categorical`. Gate and experts must look at the same
    x, without `gate_x`. `leaf_names` tells which leaf is which.

    Raises:
        GatewiseError: for a mixture inside with another head than `Categorical`.

    >>> import torch
    >>> import gatewise as gw
    >>> branch = gw.MixtureOfExperts(torch.nn.Linear(4, 3), gw.MLPBank(3, 4, (), 2))  # 3 experts, 2 classes
    >>> tree = gw.MixtureOfExperts(torch.nn.Linear(4, 2), [branch, gw.mixture.mlp(4, [], 2)])
    >>> leaves, x = gw.mixture.by_leaf(tree), torch.randn(5, 4)
    >>> leaves.num_experts, torch.allclose(leaves.predict_proba(x), tree.predict_proba(x), atol=1e-5)
    (4, True)
    """
    return MixtureOfExperts(LeafGate(mixture), LeafExperts(mixture), trunk=mixture.trunk)


def leaf_names(mixture: MixtureOfExperts) -> list[str]:
    """A name for each leaf, in the order of `by_leaf`: "1.0" is the first expert of the second.

    >>> import torch
    >>> import gatewise as gw
    >>> mixture = gw.MixtureOfExperts(torch.nn.Linear(4, 3), gw.MLPBank(3, 4, (), 2))  # 3 experts, 2 classes
    >>> gw.mixture.leaf_names(gw.MixtureOfExperts(torch.nn.Linear(4, 2), [mixture, gw.mixture.mlp(4, [], 2)]))
    ['0.0', '0.1', '0.2', '1']
    """
    return [".".join(map(str, path)) for path in _paths(mixture)]


def _members(mixture: MixtureOfExperts) -> list[nn.Module | None]:
    """What is a mixture, or a module, among the experts; None for an expert of a bank."""
    experts = mixture.experts
    return list(experts.members) if isinstance(experts, ExpertList) else [None] * mixture.num_experts


def _paths(mixture: MixtureOfExperts) -> Iterator[Path]:
    """The path from the root to each leaf."""
    for k, member in enumerate(_members(mixture)):
        yield from ((k, *rest) for rest in (_paths(member) if isinstance(member, MixtureOfExperts) else [()]))


class LeafGate(nn.Module):
    """log p(leaf|x), `[B, L]`, of a tree; what it is given has passed the root's trunk."""

    def __init__(self, mixture: MixtureOfExperts):
        super().__init__()
        self.mixture = mixture

    def forward(self, features: Tensor) -> Tensor:
        """The sum of the log-probabilities on the path to each leaf."""
        self.mixture.set_frozen_to_eval()
        logits = widened(self.mixture.gate(features))
        return _leaf_log_probs(self.mixture, features, logits.log_softmax(-1))


def _leaf_log_probs(mixture: MixtureOfExperts, features: Tensor, log_gate: Tensor) -> Tensor:
    """log p(leaf|x) `[B, L]` by the chain rule, of log p(z|x) `[B, K]` at the root of a tree."""
    columns = list(log_gate.split(1, dim=-1))
    for k, member in enumerate(_members(mixture)):
        if isinstance(member, MixtureOfExperts):
            columns[k] = columns[k] + _inner_log_probs(member, features, columns[k])
    return torch.cat(columns, -1)


def _inner_log_probs(member: MixtureOfExperts, features: Tensor, column: Tensor) -> Tensor:
    """log p(leaf|member,x) `[B, L]`; 0 where log p(member|x) `[B, 1]` masks it, whose gate does not run there."""
    possible = column.detach().squeeze(1) > -torch.inf

    def of(rows: Tensor) -> Tensor:
        inner, logits = member.read(rows)
        return _leaf_log_probs(member, inner, logits.log_softmax(-1))

    if blind(possible):
        some = possible.view(-1, *[1] * (features.dim() - 1))
        return torch.where(possible.unsqueeze(1), of(without_gradient(~some, features)), 0.0)
    if bool(possible.all()):
        return of(features)
    rows = possible.nonzero().squeeze(1)
    found = of(features[rows])
    return found.new_zeros(len(features), found.shape[1]).index_copy(0, rows, found)


class LeafExperts(Experts):
    """The leaves of a tree as experts; each runs only on the rows that ask for it.

    Raises:
        GatewiseError: for a head that is not `Categorical`.
    """

    def __init__(self, mixture: MixtureOfExperts):
        super().__init__()
        self.mixture = mixture
        self.num_experts = len(list(_paths(mixture)))
        for name, module in [("", mixture), *mixture.named_modules()]:
            if isinstance(module, MixtureOfExperts) and not isinstance(module.head, Categorical):
                place = f"the mixture {name}" if name else "the mixture"
                raise GatewiseError(
                    f"{place} has the head {type(module.head).__name__}; a mixture of mixtures can be taken apart by "
                    "leaf where all heads are Categorical"
                )

    def forward(self, x: Tensor) -> Tensor:
        """Outputs `[B, L, C]`."""
        return _outputs(self.mixture, x)

    def grouped(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """Outputs `[N, C]`; a leaf without rows is not run."""
        return _grouped(self.mixture, x, list(counts))


def _outputs(mixture: MixtureOfExperts, features: Tensor) -> Tensor:
    """What every leaf puts out, `[B, L, C]`, for what the experts of a mixture see."""
    if not isinstance(mixture.experts, ExpertList):
        return mixture.experts(features)
    mixture.experts.set_frozen_to_eval()
    parts = [
        _outputs(member, member.features(features))
        if isinstance(member, MixtureOfExperts)
        else member(features).unsqueeze(1)
        for member in mixture.experts.members
    ]
    return torch.cat(parts, 1)


def _grouped(mixture: MixtureOfExperts, features: Tensor, counts: list[int]) -> Tensor:
    """What the leaves put out, `[N, C]`, for rows sorted by leaf, counts[i] of them for leaf i."""
    if not isinstance(mixture.experts, ExpertList):
        return mixture.experts.grouped(features, counts)
    mixture.experts.set_frozen_to_eval()
    mixture.experts.refuse_batch_statistics()
    outputs, leaf, row = [], 0, 0
    for member in mixture.experts.members:
        inner = isinstance(member, MixtureOfExperts)
        asked = counts[leaf : leaf + (len(list(_paths(member))) if inner else 1)]
        leaf, rows = leaf + len(asked), features[row : row + sum(asked)]
        row += len(rows)
        if len(rows):
            outputs.append(_grouped(member, member.features(rows), asked) if inner else member(rows))
    return torch.cat(outputs) if outputs else _outputs(mixture, features)[:, 0]
