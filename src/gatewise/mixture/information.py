"""Information measures of a gate: entropies, mutual information, how many experts are in use."""

from typing import NamedTuple

import torch
from torch import Tensor

from gatewise.mixture.masks import unmasked
from gatewise.precision import widened

COLLAPSED = 1.5
"""Fewer effective experts than this is a collapse: one expert does nearly everything."""
STILL = 0.01
"""Less mutual information than this, in nats, and the gate does not choose."""


def entropy(probs: Tensor) -> Tensor:
    """-Σ_k p_k log p_k in nats, `[...]`, for probabilities `[..., K]`; exact zeros count 0, with a gradient of 0."""
    probs = widened(probs)
    positive = probs > 0
    log_probs = torch.where(positive, probs, 1.0).log()
    return -(torch.where(positive, probs, 0.0) * log_probs).sum(-1)


def mutual_information(mean_gate: Tensor, mean_entropy: Tensor) -> Tensor:
    """I(z;x) = H(mean gate) - mean H(z|x) in nats; 0 means that the gate does not look at x."""
    return (entropy(mean_gate) - mean_entropy).clamp_min(0.0)


def effective_experts(mean_gate: Tensor) -> Tensor:
    """The perplexity of the mean gate, from 1 (one expert takes all) to K."""
    return entropy(mean_gate).exp()


def experts_used(argmax_counts: Tensor) -> Tensor:
    """How many of K experts are the gate's argmax on at least 1/(10 K) of the rows; counts `[K]`."""
    return (argmax_counts * 10 * len(argmax_counts) >= argmax_counts.sum()).sum()


class Uncertainty(NamedTuple):
    """H[p(y|x)] = E_z H[p(y|z,x)] + I(y;z|x), in nats, each `[B]`.

    Attributes:
        entropy: H[p(y|x)], of the prediction as a whole.
        expected_entropy: E_z H[p(y|z,x)], what is left when the expert is known.
        information: I(y;z|x), what the experts disagree by; 0 where they all say the same or one of them answers alone.

    >>> import torch
    >>> import gatewise as gw
    >>> mixture = gw.MixtureOfExperts(torch.nn.Linear(4, 3), gw.MLPBank(3, 4, (), 2))  # 3 experts, 2 classes
    >>> parts = mixture.uncertainty(torch.randn(5, 4))
    >>> torch.allclose(parts.entropy, parts.expected_entropy + parts.information, atol=1e-5)
    True
    """

    entropy: Tensor
    expected_entropy: Tensor
    information: Tensor


def split_entropy(log_gate: Tensor, log_experts: Tensor) -> Uncertainty:
    """The three parts from log p(z|x) `[B, K]` and log p(y|z,x) of every class `[B, K, C]`, each by its own formula.

    The information is E_z KL(p(y|z,x) ‖ p(y|x)), and no difference of the other two, which would lose its digits where
    it is small. It is a sum of terms >= 0 but for rounding, and clipped at 0.
    """
    log_experts = unmasked(log_gate > -torch.inf, log_experts)
    gate, experts = log_gate.exp(), log_experts.exp()
    log_mixture = (log_gate.unsqueeze(-1) + log_experts).logsumexp(1)
    ratio = torch.where(experts > 0, log_experts - log_mixture.unsqueeze(1), 0.0)
    divergence = (experts * ratio).sum(-1)
    return Uncertainty(
        entropy(log_mixture.exp()),
        (gate * entropy(experts)).sum(-1),
        torch.where(gate > 0, gate * divergence, 0.0).sum(-1).clamp_min(0.0),
    )


def routed_log_gate(logits: Tensor, route: str, k: int) -> Tensor:
    """log p(z|x) `[B, K]` with all but the first 1 or k experts masked and the rest renormalised, as `route` says."""
    if route == "mixture":
        return logits.log_softmax(-1)
    kept = torch.zeros_like(logits, dtype=torch.bool)
    # as `MixtureOfExperts.predict_proba` chooses: of equal logits max takes the first, topk takes any
    index = logits.max(-1, keepdim=True).indices if route == "top1" or k == 1 else logits.topk(k, dim=-1).indices
    return logits.masked_fill(~kept.scatter(-1, index, True), -torch.inf).log_softmax(-1)
