"""Noisy top-k: only the k experts of the highest scores can be chosen."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gatewise.errors import GatewiseError
from gatewise.precision import widened


def check_top_k(k: int, num_experts: int) -> None:
    """Refuse a k that leaves no choice, or that K experts do not have.

    Raises:
        GatewiseError: with the k, or the estimator, to take.
    """
    if k == 1:
        raise GatewiseError(
            "a gate of the top 1 gives its one expert the probability 1 whatever its score, so it gets no gradient; "
            "take k from 2, or a whole gate with the estimator 'score-function', which runs the one expert it draws"
        )
    if num_experts == 1:
        raise GatewiseError("a mixture of 1 expert has none to leave out; leave top-k out")
    if not 2 <= k <= num_experts:
        raise GatewiseError(f"a top-k gate of {num_experts} experts takes k from 2 to {num_experts}, got {k}")


class NoisyTopK(nn.Module):
    """Scores + N(0,1) · softplus(x W_noise) in training only; then -inf for all but the k highest, always.

    The noise gives experts beside the likely ones some rows; its scale is learned for each expert, and begins at
    softplus(0) = log 2. It comes from torch's global random state, as that of dropout does. An expert outside of the
    top k gets no gradient, and neither does its score.

    Args:
        k: experts kept for a row.
        num_experts: K.
        noise_features: numbers in a row of the gate's input, flattened; None for no noise.

    Raises:
        GatewiseError: for k = 1, which leaves the gate without a gradient, or a k above K.

    >>> import torch
    >>> import gatewise as gw
    >>> top = gw.mixture.NoisyTopK(2, num_experts=4)
    >>> top(torch.tensor([[3.0, 1.0, 2.0, 0.0]])).tolist()
    [[3.0, -inf, 2.0, -inf]]

    Reference: Shazeer et al. 2017 (1701.06538).
    """

    def __init__(self, k: int, num_experts: int, noise_features: int | None = None):
        super().__init__()
        check_top_k(k, num_experts)
        self.k = k
        self.noise_weight = None if noise_features is None else nn.Parameter(torch.zeros(noise_features, num_experts))

    def perturb(self, scores: Tensor, x: Tensor) -> Tensor:
        """Scores `[B, K]` with the noise that rows x `[B, ...]` call for; as they are outside of training."""
        if self.noise_weight is None or not self.training:
            return scores
        scale = F.softplus(widened(x.flatten(1) @ self.noise_weight))
        return scores + torch.randn_like(scores) * scale

    def forward(self, scores: Tensor) -> Tensor:
        """Scores `[B, K]`, -inf outside of the k highest."""
        kept = scores.detach().topk(self.k, dim=-1).indices
        dropped = torch.ones_like(scores, dtype=torch.bool).scatter(-1, kept, False)
        return scores.masked_fill(dropped, -torch.inf)

    def extra_repr(self) -> str:
        """k and the noise, for `print`."""
        return f"k={self.k}, noise={self.noise_weight is not None}"
