"""Gates that give most experts a probability of exactly 0: sparsemax and 1.5-entmax.

They are other maps from scores to probabilities than the softmax, and not estimators for it. Put one behind a gate's
network, and `enumeration` with `support_only=True` sums exactly over the few experts left, and runs only those:

    gate = torch.nn.Sequential(torch.nn.Linear(64, 32), gw.mixture.Sparsemax())
    objective = gw.objectives.get("jensen", estimator=gw.estimators.get("enumeration", support_only=True))

An expert outside of the support gets no gradient, and neither does its score until another falls (Martins and Astudillo
2016, 1602.02068; Correia, Niculae, Aziz and Martins 2020, 2007.01919).
"""

import torch
from torch import Tensor, nn

from gatewise.errors import undefined


def sparsemax(scores: Tensor) -> Tensor:
    """The point of the simplex nearest to the scores: max(θ - τ, 0), `[*batch, K]`, of their type.

    Scores may be masked with -inf. Differentiable: the derivative is that of a mean taken off within the support.

    >>> import torch
    >>> import gatewise as gw
    >>> gw.mixture.sparsemax(torch.tensor([2.0, 1.5, 0.0])).tolist()
    [0.75, 0.25, 0.0]

    Reference: Martins and Astudillo 2016 (1602.02068).
    """
    scores = scores - scores.detach().amax(-1, keepdim=True)
    with torch.no_grad():
        ordered, sizes = _ordered(scores)
        # what is 1 below the highest or more is in no support; as it is, its sum might overflow
        tau = (ordered.clamp_min(-1).cumsum(-1) - 1) / sizes
        size = (ordered > tau).sum(-1, keepdim=True).clamp_min(1)
        tau = tau.gather(-1, size - 1)
        weights = (scores > tau).to(scores.dtype)
    return _above(scores, tau, weights)


def entmax15(scores: Tensor) -> Tensor:
    """1.5-entmax: max(θ/2 - τ, 0)², `[*batch, K]`: sparse as `sparsemax` and smooth at the border of its support.

    Scores may be masked with -inf.

    >>> import torch
    >>> import gatewise as gw
    >>> gw.mixture.entmax15(torch.tensor([2.0, 2.0, -1.0])).round(decimals=4).tolist()
    [0.5, 0.5, 0.0]

    Reference: Peters, Niculae and Martins 2019 (1905.05702).
    """
    halves = (scores - scores.detach().amax(-1, keepdim=True)) / 2
    with torch.no_grad():
        ordered, sizes = _ordered(halves)
        mean = ordered.cumsum(-1) / sizes
        spread = ordered.square().cumsum(-1) - sizes * mean.square()
        tau = mean - ((1 - spread) / sizes).clamp_min(0).sqrt()
        size = (ordered >= tau).sum(-1, keepdim=True).clamp_min(1)
        tau = tau.gather(-1, size - 1)
        weights = (halves - tau).clamp_min(0)
    return _above(halves, tau, weights).square()


def _ordered(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Scores in descending order, and 1 to K."""
    ordered = scores.sort(dim=-1, descending=True).values
    sizes = torch.arange(1, scores.shape[-1] + 1, dtype=scores.dtype, device=scores.device)
    return ordered, sizes


def _above(scores: Tensor, tau: Tensor, weights: Tensor) -> Tensor:
    """max(θ - τ, 0), with ∂τ/∂θ = weights / Σ weights, the derivative of the sum to 1."""
    inside = weights > 0
    moving = torch.where(inside, scores, 0.0)
    share = weights / weights.sum(-1, keepdim=True)
    threshold = (share * moving).sum(-1, keepdim=True)
    return torch.where(inside, moving - (tau + threshold - threshold.detach()), 0.0)


class _SparseGate(nn.Module):
    """Scores to logits whose softmax is the sparse distribution: its logarithm, -inf outside of the support."""

    def forward(self, scores: Tensor) -> Tensor:
        """Logits `[*batch, K]`, in float32 at least."""
        wide = scores if scores.dtype.itemsize >= 4 else scores.float()
        probs = self.probs(wide)
        inside = probs > 0
        return torch.where(inside, torch.where(inside, probs, 1.0).log(), -torch.inf)

    def probs(self, scores: Tensor) -> Tensor:
        """The sparse distribution, `[*batch, K]`."""
        undefined(self, "probs")


class Sparsemax(_SparseGate):
    """The last module of a gate whose choice is sparsemax of its scores `[*batch, K]`.

    >>> import torch
    >>> import gatewise as gw
    >>> gate = torch.nn.Sequential(torch.nn.Linear(4, 3), gw.mixture.Sparsemax())
    >>> gate(torch.randn(5, 4)).softmax(-1).shape  # log p(z|x), with -inf where it is 0
    torch.Size([5, 3])
    """

    def probs(self, scores: Tensor) -> Tensor:
        """Sparsemax."""
        return sparsemax(scores)


class Entmax15(_SparseGate):
    """The last module of a gate whose choice is 1.5-entmax of its scores `[*batch, K]`.

    >>> import torch
    >>> import gatewise as gw
    >>> gw.mixture.Entmax15()(torch.tensor([[2.0, 2.0, -1.0]])).softmax(-1).round(decimals=4).tolist()
    [[0.5, 0.5, 0.0]]
    """

    def probs(self, scores: Tensor) -> Tensor:
        """1.5-entmax."""
        return entmax15(scores)


SPARSE_GATES: dict[str, type[nn.Module]] = {"sparsemax": Sparsemax, "entmax15": Entmax15}
"""By the names that configurations use."""
